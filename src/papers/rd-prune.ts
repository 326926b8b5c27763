import { paper } from "../claims/paper.ts";
import { fraction, oneOf, whole } from "../claims/plan-options.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { rateDistortion } from "../pipeline/choosing/rate-distortion.ts";
import { layered } from "../plans/layered.ts";

/** Prunes each layer by magnitude; the shares of layers are those with the least sum of single output distortions. */
export const rdPrune = paper({
  id: "rd-prune",
  summary: "Shares of layers by dynamic programming over measured rate-distortion curves.",
  cite: {
    title: "Efficient Joint Optimization of Layer-Adaptive Weight Pruning in Deep Neural Networks",
    year: 2023,
    arxiv: "2308.10438",
    equation: "Section 3, Algorithm 1",
  },
  code: "github:Akimoto-Cris/RD_VIT_PRUNE",
  golden: "None: its base row of the programme forgets the cost of the first layer.",
  departures: [
    "Curves are made monotone by a running maximum.",
    "Distortion is the mean over samples unless the worst of them is asked for, which the published commands do.",
    "The programme counts weights in at most 20,000 steps; what the grid leaves over is given back, so that the share is exact.",
    "One shot; rounds with masked retraining are left out: they train.",
  ],
  record: {
    removes: ["weight"],
    speedup: ["unstructured"],
    when: ["after"],
    criterion: ["magnitude", "loss change"],
    learn: ["none"],
    fusion: ["none"],
    data: ["unlabelled"],
    supervision: ["self"],
    scope: ["allocated"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["cnn", "vit"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.5, "Share of all weights to remove."),
    steps: whole(20, "Shares tried in each layer; the paper tries 100.", 2, 1000),
    over: oneOf(["mean", "worst"], "Whether the mean or the worst sample counts."),
  },
  plan: ({ sparsity, steps, over }) => ({
    kind: "weights",
    criterion: magnitude(1),
    pattern: { kind: "element" },
    scope: "tensor",
    profile: "uniform",
    sparsity,
    allocator: rateDistortion({ steps, over }),
    recovery: [],
  }),
  exempt: { nests: "Shares of layers are chosen anew for each sparsity, and a layer may get a smaller one." },
  reproduction: {
    claim:
      "Shares of layers by measured distortion beat LAMP by 2 points and equal shares by 10, where equal shares fail.",
    testbeds: ["cifar-resnet20", "glyphs"],
    run: (bench, plan) =>
      bench.compare({
        budget: "weights",
        removed: [0.5, 0.6, 0.7, 0.8],
        calibration: 64,
        arms: {
          "RD, 10 shares": { plan: ({ removed }) => plan({ sparsity: removed, steps: 10 }) },
          "uniform magnitude": { plan: ({ removed }) => layered(removed, "uniform") },
          "ERK magnitude": { plan: ({ removed }) => layered(removed, "erk") },
          LAMP: { plan: ({ removed }) => layered(removed, "lamp") },
        },
        expect: [
          { better: "RD, 10 shares", than: "LAMP", at: [0.5, 0.6, 0.7, 0.8], by: 2 },
          { better: "RD, 10 shares", than: "uniform magnitude", at: [0.5, 0.6, 0.7, 0.8], by: 10 },
        ],
      }),
  },
});
