import { trainingPaper } from "../claims/paper.ts";
import { fraction, oneOf, patternNamed, patternOption } from "../claims/plan-options.ts";
import { gradualMagnitude } from "../sparsify/training/programmes.ts";

/** Trains under soft masks that follow from the weights and a threshold per layer, which the wanted sparsity sets. */
export const pdp = trainingPaper({
  id: "pdp",
  summary:
    "Soft masks without parameters of their own while training: weights near the threshold are decided by gradients.",
  cite: {
    title: "PDP: Parameter-free Differentiable Pruning is All You Need",
    year: 2023,
    arxiv: "2305.11203",
    equation: "Algorithm 1",
  },
  code: null,
  golden: "No code is public; mask and gradient are tested against numbers worked out by hand.",
  departures: [
    "The width of the soft border is a share of each layer's mean square, so that it fits weights of any scale.",
    "Shares of layers rise at every update instead of every epoch; the last fifteenth of a run has hard masks.",
    "Optimiser and rate are those of the testbed's lessons, AdamW.",
  ],
  record: {
    removes: ["weight", "n:m"],
    speedup: ["unstructured", "semi-structured"],
    when: ["during"],
    criterion: ["learned", "magnitude"],
    learn: ["gates"],
    fusion: ["none"],
    data: ["training set"],
    supervision: ["supervised"],
    scope: ["global"],
    iterations: ["iterative"],
    recovery: ["none"],
    models: ["mlp", "cnn", "encoder"],
    guarantee: ["heuristic"],
    gradients: true,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.9, "Share of all weights to remove."),
    pattern: patternOption,
    temperature: fraction(0.05, "Width of the soft border as a share of a layer's mean square."),
    forward: oneOf(["soft", "hard"], "Soft masks, or hard ones with straight-through gradients to compare with."),
  },
  plan: ({ sparsity, pattern, temperature, forward }) => ({
    kind: "soft",
    masks: {
      ...{ sparsity, temperature, forward },
      pattern: patternNamed(pattern),
      ...{ from: 0.15, until: 0.7, harden: 14 / 15 },
    },
  }),
  reproduction: {
    claim:
      "At 95 % it beats gradual magnitude pruning by 0.3 points, and is no worse than hard masks with straight-through gradients.",
    testbeds: ["glyphs-lenet5", "mnist-lenet5"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.95],
        epochs: 4,
        arms: {
          PDP: ({ removed }) => plan({ sparsity: removed }),
          "straight-through": ({ removed }) => plan({ sparsity: removed, forward: "hard" }),
          GMP: ({ removed }) => ({
            kind: "programme",
            programme: gradualMagnitude({ sparsity: removed, scope: "global", from: 0.15, until: 0.7 }),
          }),
        },
        expect: [
          { better: "PDP", than: "GMP", at: [0.95], by: 0.3 },
          { better: "PDP", than: "straight-through", at: [0.95], by: 0 },
        ],
      }),
  },
});
