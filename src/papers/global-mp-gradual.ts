import { trainingPaper } from "../claims/paper.ts";
import { fraction } from "../claims/plan-options.ts";
import { gradualMagnitude, oneCut } from "../sparsify/training/programmes.ts";

/** The gradual form of global magnitude pruning: one threshold for all layers, which rises while the network is trained. */
export const globalMpGradual = trainingPaper({
  id: "global-mp-gradual",
  summary: "One magnitude threshold for all layers that rises along a cubic while the network is trained.",
  cite: {
    title: "Is Complexity Required for Neural Network Pruning? A Case Study on Global Magnitude Pruning",
    year: 2022,
    arxiv: "2209.14624",
    equation: "Section 3, gradual pruning",
  },
  code: null,
  golden: "None: the authors' code has the form that prunes at once, which is global-mp here.",
  departures: [
    "The rise is a cubic; the paper says small steps and not which.",
    "The floor of weights kept in each layer is left out; global-mp has it.",
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
    scope: ["global"],
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
  },
  plan: (options) => ({ kind: "programme", programme: gradualMagnitude({ ...options, scope: "global" }) }),
  reproduction: {
    claim:
      "Raised gradually, one threshold is not worse than at once with the same training, and leaves less work; it beats the same share of every layer, and loses nothing against LAMP.",
    testbeds: ["glyphs-lenet5", "glyphs-mlp", "mnist-lenet5"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.95],
        epochs: 3,
        arms: {
          gradual: ({ removed }) => plan({ sparsity: removed }),
          "gradual, uniform": ({ removed }) => ({
            kind: "programme",
            programme: gradualMagnitude({ sparsity: removed, scope: "uniform" }),
          }),
          "gradual, LAMP": ({ removed }) => ({
            kind: "programme",
            programme: gradualMagnitude({ sparsity: removed, scope: "lamp" }),
          }),
          "uniform, at once": ({ removed }) => ({
            kind: "programme",
            programme: oneCut({ sparsity: removed, scope: "uniform" }),
          }),
        },
        expect: [
          { better: "gradual", than: "global magnitude, halfway", at: [0.95], by: -0.5 },
          { better: "gradual", than: "gradual, uniform", at: [0.95], by: 1 },
          { better: "gradual", than: "gradual, LAMP", at: [0.95], by: -0.5 },
        ],
      }),
  },
});
