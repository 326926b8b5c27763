import { trainingPaper } from "../claims/paper.ts";
import { fraction, oneOf } from "../claims/plan-options.ts";
import * as programmes from "../sparsify/training/programmes.ts";

/** Prunes by global magnitude along a cubic while it trains, and exchanges weights by gradient after every step. */
export const granet = trainingPaper({
  id: "granet",
  summary: "Gradual global pruning while training, with regrowth by gradient; RigL and GMP are halves of it.",
  cite: {
    title: "Sparse Training via Boosting Pruning Plasticity with Neuroregeneration",
    year: 2021,
    arxiv: "2106.10404",
    equation: "Algorithm 1",
  },
  code: "github:Shiweiliuiiiiiii/GraNet",
  golden: "None: the authors' code draws its masks from PyTorch's generator.",
  departures: [
    "Counts are exact by rank; of equal magnitudes those with the lower index go first.",
    "Growth looks at the gradient of the last batch after its update, not before.",
    "The optimiser is that of the testbed's lessons, AdamW; both moments of what is dropped are cleared.",
  ],
  record: {
    removes: ["weight"],
    speedup: ["unstructured"],
    when: ["during"],
    criterion: ["magnitude", "sensitivity"],
    learn: ["none"],
    fusion: ["none"],
    data: ["training set"],
    supervision: ["supervised"],
    scope: ["global"],
    iterations: ["iterative"],
    recovery: ["none"],
    models: ["mlp", "cnn", "vit"],
    guarantee: ["heuristic"],
    gradients: true,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.9, "Share of all weights to remove."),
    initial: fraction(0.5, "Share that is missing at the start, at random places by ERK; 0 starts dense."),
    growth: oneOf(["gradient", "none"], "Whether weights are exchanged; without it this is gradual magnitude pruning."),
  },
  plan: ({ sparsity, initial, growth }) => ({
    kind: "programme",
    programme:
      growth === "none"
        ? programmes.gradualMagnitude({ sparsity, scope: "global" })
        : programmes.granet({ sparsity, initial }),
  }),
  reproduction: {
    claim:
      "Regrowth makes gradual pruning better at 98 %, and from half of the weights it beats RigL, which beats a random mask that stays.",
    testbeds: ["glyphs-lenet5", "mnist-lenet5"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.95, 0.98],
        epochs: 3,
        arms: {
          "GraNet from dense": ({ removed }) => plan({ sparsity: removed, initial: 0 }),
          "GraNet from half": ({ removed }) => plan({ sparsity: removed, initial: 0.5 }),
          GMP: ({ removed }) => plan({ sparsity: removed, growth: "none" }),
          RigL: ({ removed }) => ({ kind: "programme", programme: programmes.rigl({ sparsity: removed }) }),
          SET: ({ removed }) => ({ kind: "programme", programme: programmes.set({ sparsity: removed }) }),
        },
        expect: [
          { better: "GraNet from dense", than: "GMP", at: [0.98], by: 0.3 },
          { better: "GraNet from half", than: "RigL", at: [0.98], by: 0.5 },
          { better: "GMP", than: "random, static", at: [0.95, 0.98], by: 0 },
          { better: "RigL", than: "random, static", at: [0.95, 0.98], by: 0 },
        ],
      }),
  },
});
