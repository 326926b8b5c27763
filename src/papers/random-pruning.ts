import { trainingPaper } from "../claims/paper.ts";
import { fraction, oneOf } from "../claims/plan-options.ts";
import { beforeTraining, dense } from "../claims/reproduction.ts";
import { snip } from "../criteria/gradients/taylor.ts";
import { sparse } from "../plans/methods.ts";
import { staticRandom } from "../sparsify/training/programmes.ts";

/** Draws a mask before training and keeps it; only the shares of the layers are chosen. */
export const randomPruning = trainingPaper({
  id: "random-pruning",
  summary: "A random mask before training that stays; only the shares of layers are chosen.",
  cite: {
    title: "The Unreasonable Effectiveness of Random Pruning: Return of the Most Naive Baseline for Sparse Training",
    year: 2022,
    arxiv: "2202.02643",
    equation: "Section 3.1",
  },
  code: "github:VITA-Group/Random_Pruning",
  golden: "The densities of ERK for LeNet-5.",
  departures: [
    "Every layer has an exact count; the paper draws each weight, so that counts vary.",
    "Shares by SNIP come from 512 samples and the parameters that are trained; the code looks at one batch and other parameters.",
    "ERK+ and uniform+, which hold single layers denser, are left out.",
    "Width and depth, at which a random mask becomes as good as none, are those of the testbed; out-of-distribution and adversarial accuracy are not measured.",
  ],
  record: {
    removes: ["weight"],
    speedup: ["unstructured"],
    when: ["before"],
    criterion: ["random"],
    learn: ["none"],
    fusion: ["none"],
    data: ["training set"],
    supervision: ["supervised"],
    scope: ["local", "allocated"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["mlp", "cnn"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.7, "Share of all weights that are never there."),
    profile: oneOf(["erk", "er", "uniform"], "How much each layer loses."),
  },
  plan: (options) => ({ kind: "programme", programme: staticRandom(options) }),
  reproduction: {
    claim:
      "A random mask with good shares of layers trains nearly as well as the dense network, better than equal shares, and as well as SNIP's own places when the shares are SNIP's.",
    testbeds: ["glyphs-lenet5", "glyphs-mlp", "mnist-lenet5"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.7, 0.95],
        epochs: 3,
        arms: {
          ERK: ({ removed }) => plan({ sparsity: removed }),
          ER: ({ removed }) => plan({ sparsity: removed, profile: "er" }),
          uniform: ({ removed }) => plan({ sparsity: removed, profile: "uniform" }),
          SNIP: ({ removed }) => beforeTraining(sparse({ criterion: snip(), scope: "global", sparsity: removed })),
          "shares of SNIP": ({ removed }) => [
            { kind: "prune", plan: sparse({ criterion: snip(), scope: "global", sparsity: removed }) },
            { kind: "redraw", places: true },
            { kind: "train" },
          ],
        },
        expect: [
          { better: "ERK", than: dense, at: [0.7], by: -0.5 },
          { better: "ERK", than: "uniform", at: [0.95], by: 1 },
          { better: "shares of SNIP", than: "SNIP", at: [0.95], by: -0.7 },
        ],
      }),
  },
});
