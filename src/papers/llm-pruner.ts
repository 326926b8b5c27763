import { unitAllocationDefaults } from "../allocation/units.ts";
import { paper } from "../claims/paper.ts";
import { fraction, oneOf, parameterShareOf, without } from "../claims/plan-options.ts";
import { fisher } from "../criteria/gradients/curvature.ts";
import { snip, taylor } from "../criteria/gradients/taylor.ts";
import { structured } from "../plans/methods.ts";
import { lowRankUpdates } from "../recovery/perp.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";

const saliences = { first: snip(), vector: taylor(), second: fisher() } as const;

/** Removes heads and neurons that first-order Taylor terms of the loss miss least; low-rank updates repair the rest. */
export const llmPruner = paper({
  id: "llm-pruner",
  summary: "Heads and neurons by Taylor terms of the loss, then low-rank updates.",
  cite: {
    title: "LLM-Pruner: On the Structural Pruning of Large Language Models",
    year: 2023,
    arxiv: "2305.11627",
    equation: "Eq. 5, first order",
  },
  code: "github:horseee/LLM-Pruner",
  golden: "None yet: its models are language models of billions.",
  departures: [
    "All blocks are pruned; the published commands leave out the first four and the last two.",
    "The unit of an attention is a key head with its queries.",
    "The updates are taught by the original model on calibration windows instead of 50,000 instructions.",
    "The second order is a score of its own; mixed with the first it changes no order, as its numbers are far smaller.",
  ],
  record: {
    removes: ["channel", "head"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["sensitivity"],
    learn: ["none"],
    fusion: ["none"],
    data: ["labelled"],
    supervision: ["supervised"],
    scope: ["local"],
    iterations: ["one-shot"],
    recovery: ["none", "fine-tuning"],
    models: ["mlp", "cnn", "vit", "encoder", "llm"],
    guarantee: ["heuristic"],
    gradients: true,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.2, "Share to remove."),
    of: parameterShareOf,
    salience: oneOf(["first", "vector", "second"], "Sum of |w·g|, size of the sum of w·g, or w² times mean g²."),
    recovery: oneOf(["none", "lora"], "Whether low-rank updates are trained afterwards."),
  },
  plan: ({ sparsity, of, salience, recovery }) => ({
    kind: "units",
    units: "inner",
    criterion: saliences[salience],
    scores: { members: "all", reduce: "sum", normalise: "none" },
    target: without(sparsity, of),
    allocation: unitAllocationDefaults,
    recovery: recovery === "lora" ? [lowRankUpdates()] : [],
  }),
  reproduction: {
    claim:
      "At equal shares of all layers the Taylor score beats L2 and chance; low-rank updates take away a good part of what the loss has grown by.",
    testbeds: languageTestbeds,
    run: (bench, plan) =>
      bench.compare({
        budget: "params",
        by: "loss",
        among: { units: "inner" },
        removed: [0.2, 0.4],
        calibration: 64,
        arms: {
          "first order": { plan: ({ removed }) => plan({ sparsity: removed }) },
          vector: { plan: ({ removed }) => plan({ sparsity: removed, salience: "vector" }) },
          "first order, then LoRA": { plan: ({ removed }) => plan({ sparsity: removed, recovery: "lora" }) },
          "L2, equal shares": {
            plan: ({ removed }) => ({ ...structured({ keepParams: 1 - removed }), units: "inner" }),
          },
        },
        expect: [
          { better: "first order", than: "random", at: [0.2, 0.4], by: 0 },
          { better: "first order", than: "L2, equal shares", at: [0.2, 0.4], by: 0 },
          { better: "first order, then LoRA", than: "first order", at: [0.2, 0.4], by: 0 },
        ],
      }),
  },
});
