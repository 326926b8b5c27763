import { paper } from "../claims/paper.ts";
import { amongOption, fraction, oneOf, patternNamed, patternOption } from "../claims/plan-options.ts";
import { dense } from "../claims/reproduction.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { layered } from "../plans/layered.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";

/** Removes the smallest weights of a pretrained model at once, by one threshold for all blocks. */
export const essentialSparsity = paper({
  id: "essential-sparsity",
  summary: "The smallest weights of a pretrained model at once: free up to a knee.",
  cite: {
    title: "The Emergence of Essential Sparsity in Large Pre-trained Models: The Weights that Matter",
    year: 2023,
    arxiv: "2306.03805",
    equation: "Section 3",
  },
  code: "github:VITA-Group/essential_sparsity",
  golden: "None: the order of magnitudes is the same in any code.",
  departures: [
    "Nothing is fine-tuned afterwards, as in its runs of a 7 B model.",
    "The knee is read off the table; no curve is fitted.",
    "What pre-training has to do with it is not run here.",
  ],
  record: {
    removes: ["weight", "n:m"],
    speedup: ["unstructured", "semi-structured"],
    when: ["after"],
    criterion: ["magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["none"],
    supervision: ["none"],
    scope: ["local", "global"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["vit", "encoder", "llm"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.3, "Share of the weights to remove."),
    scope: oneOf(["global", "tensor"], "One threshold for all weights, or the same share of each matrix."),
    pattern: patternOption,
    among: amongOption,
  },
  plan: ({ sparsity, scope, pattern, among }) => ({
    ...layered(sparsity, "uniform", among),
    criterion: magnitude(1),
    pattern: patternNamed(pattern),
    scope,
  }),
  reproduction: {
    claim:
      "A tenth to a fifth of the weights of the blocks goes at nearly no loss where chance costs much more; beyond a knee the loss rises steeply.",
    testbeds: languageTestbeds,
    run: (bench, plan) =>
      bench.compare({
        budget: "weights",
        by: "loss",
        among: { prunable: "no-head" },
        removed: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
        arms: {
          "one threshold": { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head" }) },
          "each matrix alike": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", scope: "tensor" }),
          },
        },
        expect: [
          { better: "one threshold", than: dense, at: [0.1, 0.2], by: -0.05 },
          { better: "one threshold", than: "random", at: [0.1, 0.2, 0.3, 0.4, 0.5], by: 0.05 },
          { better: "one threshold", than: "each matrix alike", at: [0.3, 0.5, 0.7], by: 0 },
        ],
      }),
  },
});
