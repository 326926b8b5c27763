import { unitAllocationDefaults } from "../allocation/units.ts";
import { paper } from "../claims/paper.ts";
import { fraction, oneOf, parameterShareOf, without } from "../claims/plan-options.ts";
import { condition } from "../criteria/condition.ts";
import { inputNorm } from "../criteria/inputs/input-norm.ts";
import { product } from "../criteria/product.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { structured } from "../plans/methods.ts";
import { inputScales } from "../recovery/input-scales.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";
import { flap } from "./flap.ts";
import { llmPruner } from "./llm-pruner.ts";

const scores = {
  condition: condition(),
  balanced: condition("balanced"),
  product: product(magnitude(1), inputNorm()),
} as const;

/** Drops blocks that turn little, then inputs of matrices that bound their error least, and scales the inputs that stay. */
export const comp = paper({
  id: "comp",
  summary: "Whole blocks first, then heads and neurons by what bounds the error; scales of what stays repair it.",
  cite: {
    title: "Lightweight and Post-Training Structured Pruning for On-Device Large Lanaguage Models",
    year: 2025,
    arxiv: "2501.15255",
    equation: "the abstract",
  },
  code: null,
  golden:
    "None: no code is public, and score and tuning are reconstructed; they are tested against bounds and least squares.",
  departures: [
    "The score and the equations of the tuning are reconstructed from the abstract and from perturbation theory.",
    "Half of what goes is asked of whole blocks, rounded down, the first and the last block left out; nothing says how much.",
    "What is left loses the same share in all layers.",
    "Scales aim at what the original gave, not at the whole layer behind pruned ones.",
    "The unit of an attention is a key head with its queries.",
  ],
  record: {
    removes: ["layer", "channel", "head"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["similarity", "activation", "magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["unlabelled"],
    supervision: ["self"],
    scope: ["local"],
    iterations: ["one-shot"],
    recovery: ["none", "layer-wise"],
    models: ["llm"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.2, "Share to remove, blocks and units together."),
    of: parameterShareOf,
    blocks: fraction(0.5, "Share of that which is asked of whole blocks, rounded down to whole ones."),
    score: oneOf(["condition", "balanced", "product"], "The bound, its terms made alike, or Wanda of units."),
    tuning: oneOf(["scales", "none"], "Whether what stays is scaled to repair the rest."),
  },
  plan: ({ sparsity, of, blocks, score, tuning }) => ({
    kind: "units",
    before: {
      kind: "branches",
      criterion: { id: "influence", distance: "cosine" },
      span: 2,
      protect: [1, 1],
      round: "down",
      target: without(sparsity * blocks, of),
      means: false,
      recovery: [],
    },
    units: "inner",
    criterion: scores[score],
    scores: { members: "input", reduce: "sum", normalise: "none" },
    target: without(sparsity, of),
    allocation: unitAllocationDefaults,
    recovery: tuning === "scales" ? [inputScales()] : [],
  }),
  exempt: {
    nests: "A larger share may take a whole block of which a smaller one takes units.",
  },
  reproduction: {
    claim:
      "Scales take away a good part of what the loss grows by; blocks and units together are not worse than either alone; whether the bound is a better score than a product is open.",
    testbeds: languageTestbeds,
    run: (bench, plan) =>
      bench.compare({
        budget: "params",
        by: "loss",
        among: { units: "inner" },
        removed: [0.2, 0.3, 0.4],
        calibration: 64,
        arms: {
          COMP: { plan: ({ removed }) => plan({ sparsity: removed }) },
          "COMP without scales": { plan: ({ removed }) => plan({ sparsity: removed, tuning: "none" }) },
          "blocks first": { plan: ({ removed }) => plan({ sparsity: removed, blocks: 1 }) },
          "units alone": { plan: ({ removed }) => plan({ sparsity: removed, blocks: 0 }) },
          "COMP, balanced": { plan: ({ removed }) => plan({ sparsity: removed, score: "balanced" }) },
          "COMP, product": { plan: ({ removed }) => plan({ sparsity: removed, score: "product" }) },
          FLAP: { plan: ({ removed }) => flap.plan({ sparsity: removed }) },
          "LLM-Pruner": { plan: ({ removed }) => llmPruner.plan({ sparsity: removed }) },
          "L2, equal shares": {
            plan: ({ removed }) => ({ ...structured({ keepParams: 1 - removed }), units: "inner" }),
          },
        },
        expect: [
          { better: "COMP", than: "COMP without scales", at: [0.2, 0.3, 0.4], by: 0 },
          { better: "COMP", than: "blocks first", at: [0.2, 0.3, 0.4], by: -0.02 },
          { better: "COMP", than: "units alone", at: [0.2, 0.3, 0.4], by: -0.02 },
          { better: "COMP", than: "L2, equal shares", at: [0.2, 0.3, 0.4], by: 0 },
          { better: "COMP", than: "random", at: [0.2, 0.3, 0.4], by: 0 },
        ],
      }),
  },
});
