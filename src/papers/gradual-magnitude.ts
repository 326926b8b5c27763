import { trainingPaper } from "../claims/paper.ts";
import { fraction, oneOf } from "../claims/plan-options.ts";
import { dense } from "../claims/reproduction.ts";
import { random } from "../criteria/weights/random.ts";
import { structured } from "../plans/methods.ts";
import { oneCut, gradualMagnitude as programme } from "../sparsify/training/programmes.ts";

/** Raises sparsity along a cubic while a network is trained; the smallest magnitudes go. */
export const gradualMagnitude = trainingPaper({
  id: "gradual-magnitude",
  summary: "Sparsity rises along a cubic while the network is trained; the smallest magnitudes go.",
  cite: {
    title: "To prune, or not to prune: exploring the efficacy of pruning for model compression",
    year: 2017,
    arxiv: "1710.01878",
    equation: "Eq. 1",
  },
  code: "github:tensorflow/model-optimization",
  golden: "The sparsities of the cubic at each fifth of its way.",
  departures: [
    "What is masked is zero and does not come back; the paper keeps its value, which may be large enough later.",
    "The smallest go by an exact count; the first code took a threshold from a histogram of 256 bins.",
    "The optimiser is that of the testbed's lessons, AdamW; both moments of what is dropped are cleared.",
  ],
  record: {
    removes: ["weight"],
    speedup: ["unstructured"],
    when: ["during"],
    criterion: ["magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["training set"],
    supervision: ["supervised"],
    scope: ["local", "global", "allocated"],
    iterations: ["iterative"],
    recovery: ["none"],
    models: ["mlp", "cnn", "recurrent"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.9, "Share of all weights to remove."),
    from: fraction(0, "Share of the run at which the rise begins."),
    until: fraction(0.5, "Share of the run at which it ends."),
    scope: oneOf(["uniform", "global", "erk", "lamp"], "How much each layer loses."),
  },
  plan: (options) => ({ kind: "programme", programme: programme(options) }),
  reproduction: {
    claim:
      "A large network that is pruned while it is trained beats a small dense one of as many weights, and one that is cut at once; half of its weights cost nothing.",
    testbeds: ["glyphs-mlp", "glyphs-lenet5", "mnist-mlp"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.5, 0.875, 0.9375],
        epochs: 3,
        arms: {
          gradual: ({ removed }) => plan({ sparsity: removed }),
          "at once": ({ removed }) => ({
            kind: "programme",
            programme: oneCut({ sparsity: removed, scope: "uniform" }),
          }),
          "small and dense": ({ removed, seed }) => [
            { kind: "prune", plan: structured({ criterion: random(seed), keepParams: 1 - removed, scope: "group" }) },
            { kind: "redraw" },
            { kind: "train" },
          ],
        },
        expect: [
          { better: "gradual", than: dense, at: [0.5], by: -0.5 },
          { better: "gradual", than: "small and dense", at: [0.875], by: 0 },
          { better: "gradual", than: "small and dense", at: [0.9375], by: 1 },
          { better: "gradual", than: "at once", at: [0.9375], by: 1 },
        ],
      }),
  },
});
