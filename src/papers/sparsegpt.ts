import { paper } from "../claims/paper.ts";
import { amongOption, fraction, oneOf, patternNamed, patternOption, whole } from "../claims/plan-options.ts";
import { obs } from "../criteria/inputs/obs.ts";
import { wanda } from "../criteria/inputs/wanda.ts";
import { layered } from "../plans/layered.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";
import { wanda as wandaPaper } from "./wanda.ts";

/** Prunes each layer column by column; the columns to the right make up for what goes, as the inputs let them. */
export const sparsegpt = paper({
  id: "sparsegpt",
  summary: "Single weights layer by layer, what stays refitted by a sweep of optimal brain surgery.",
  cite: {
    title: "SparseGPT: Massive Language Models Can be Accurately Pruned in One-Shot",
    year: 2023,
    arxiv: "2301.00774",
    equation: "Algorithm 1",
  },
  code: "github:IST-DASLab/sparsegpt",
  golden: "None yet: its models are language models; the sweep is tested against its loss on the inputs themselves.",
  departures: [
    "A convolution is a matrix [out, in × kernel] with unfolded inputs.",
    "All layers are calibrated on the dense model; the original walks block by block behind pruned ones.",
    "The share of each block of columns is met exactly by rank.",
    "N:M keeps N of M along the input channels at a fixed kernel position.",
    "The order by activation is GPTQ's.",
  ],
  record: {
    removes: ["weight", "n:m"],
    speedup: ["unstructured", "semi-structured"],
    when: ["after"],
    criterion: ["sensitivity", "activation", "magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["unlabelled"],
    supervision: ["self"],
    scope: ["local"],
    iterations: ["one-shot"],
    recovery: ["layer-wise"],
    models: ["mlp", "cnn", "vit", "llm"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.5, "Share of the weights of each block of columns to remove."),
    mask: oneOf(["own", "wanda"], "Who chooses: the sweep, or Wanda row by row."),
    pattern: patternOption,
    block: whole(128, "Columns whose weights compete for the share.", 1, 1_000_000),
    order: oneOf(["given", "activation"], "Order of the columns; the largest inputs first without a pattern."),
    damping: fraction(0.01, "Added to the diagonal of the Gram matrix, as a share of its mean."),
    among: amongOption,
  },
  plan: ({ sparsity, mask, pattern, block, order, damping, among }) => ({
    kind: "weights",
    prunable: among,
    criterion: mask === "own" ? obs() : wanda(),
    pattern: patternNamed(pattern),
    scope: mask === "own" ? "tensor" : "row",
    profile: "uniform",
    sparsity,
    sweep: mask === "own" ? "choose" : "refit",
    sweeping: { blockSize: block, order, damping },
    recovery: [],
  }),
  exempt: {
    zeroIsIdentity: "Weights of inputs that never fire go at any share.",
    nests: "Later columns are chosen among weights that earlier removals have changed.",
  },
  reproduction: {
    claim:
      "At the same share of every layer the sweep beats Wanda, which beats magnitude; the sweep also helps a mask by Wanda.",
    testbeds: ["cifar-resnet20", "glyphs"],
    run: (bench, plan) =>
      bench.compare({
        budget: "weights",
        removed: [0.5, 0.6, 0.7],
        calibration: 128,
        arms: {
          SparseGPT: { plan: ({ removed }) => plan({ sparsity: removed }) },
          "Wanda mask, sweep": { plan: ({ removed }) => plan({ sparsity: removed, mask: "wanda" }) },
          Wanda: {
            plan: ({ removed }) => ({ ...layered(removed, "uniform"), criterion: wanda(), scope: "row" }),
          },
          "uniform magnitude": { plan: ({ removed }) => layered(removed, "uniform") },
        },
        expect: [
          { better: "SparseGPT", than: "Wanda", at: [0.5, 0.6, 0.7], by: 0 },
          { better: "SparseGPT", than: "uniform magnitude", at: [0.5, 0.6, 0.7], by: 0 },
          { better: "Wanda", than: "uniform magnitude", at: [0.5, 0.6, 0.7], by: 0 },
          { better: "Wanda mask, sweep", than: "Wanda", at: [0.5, 0.6, 0.7], by: 0 },
        ],
      }),
  },
  also: {
    "language models": {
      claim:
        "At the same share of every matrix of the blocks, single weights or N of M, the loss grows least with SparseGPT, then Wanda, then magnitude, then chance.",
      testbeds: languageTestbeds,
      run: (bench, plan) =>
        bench.compare({
          budget: "weights",
          by: "loss",
          among: { prunable: "no-head" },
          removed: [0.3, 0.5, 0.6, 0.7],
          calibration: 64,
          arms: {
            SparseGPT: { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head" }) },
            Wanda: { plan: ({ removed }) => wandaPaper.plan({ sparsity: removed, among: "no-head" }) },
            "uniform magnitude": { plan: ({ removed }) => layered(removed, "uniform", "no-head") },
            "SparseGPT, 2:4": { at: [0.5], plan: () => plan({ pattern: "2:4", among: "no-head" }) },
            "Wanda, 2:4": { at: [0.5], plan: () => wandaPaper.plan({ pattern: "2:4", among: "no-head" }) },
            "magnitude, 2:4": {
              at: [0.5],
              plan: () => ({ ...layered(0.5, "uniform", "no-head"), pattern: patternNamed("2:4") }),
            },
            "SparseGPT, 4:8": { at: [0.5], plan: () => plan({ pattern: "4:8", among: "no-head" }) },
            "Wanda, 4:8": { at: [0.5], plan: () => wandaPaper.plan({ pattern: "4:8", among: "no-head" }) },
            "magnitude, 4:8": {
              at: [0.5],
              plan: () => ({ ...layered(0.5, "uniform", "no-head"), pattern: patternNamed("4:8") }),
            },
          },
          expect: [
            { better: "SparseGPT", than: "Wanda", at: [0.3, 0.5, 0.6, 0.7], by: 0 },
            { better: "Wanda", than: "uniform magnitude", at: [0.3, 0.5, 0.6, 0.7], by: 0 },
            { better: "uniform magnitude", than: "random", at: [0.3, 0.5, 0.6, 0.7], by: 0 },
            { better: "SparseGPT, 2:4", than: "Wanda, 2:4", at: [0.5], by: 0 },
            { better: "Wanda, 2:4", than: "magnitude, 2:4", at: [0.5], by: 0 },
            { better: "SparseGPT, 4:8", than: "SparseGPT, 2:4", at: [0.5], by: 0 },
          ],
        }),
    },
  },
});
