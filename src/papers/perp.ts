import { paper } from "../claims/paper.ts";
import { amongOption, fraction, oneOf, patternNamed, patternOption } from "../claims/plan-options.ts";
import { layered } from "../plans/layered.ts";
import { perp as fewParameters, lowRankUpdates } from "../recovery/perp.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";
import { wanda } from "./wanda.ts";

/** Removes the smallest weights, and trains few parameters afterwards: norms, biases and head, or masked low-rank updates. */
export const perp = paper({
  id: "perp",
  summary: "The smallest weights of each layer, then training of a few parameters that keeps the zeros.",
  cite: {
    title: "PERP: Rethinking the Prune-Retrain Paradigm in the Era of LLMs",
    year: 2023,
    arxiv: "2312.15230",
    equation: "MaskLoRA",
  },
  code: "github:ZIB-IOL/PERP",
  golden: "None: it trains; that merged updates keep every zero is tested with the recovery.",
  departures: [
    "What is trained is taught by the original model as well as it can be, instead of by text alone.",
    "Rank 8 and strength 16 instead of 16 and 32.",
    "Norms and biases are trained with the updates, the head is not.",
    "Reconstruction block by block is left out.",
  ],
  record: {
    removes: ["weight", "n:m"],
    speedup: ["unstructured", "semi-structured"],
    when: ["after"],
    criterion: ["magnitude"],
    learn: ["none"],
    fusion: ["distillation"],
    data: ["unlabelled"],
    supervision: ["self"],
    scope: ["local"],
    iterations: ["one-shot"],
    recovery: ["fine-tuning"],
    models: ["mlp", "cnn", "vit", "encoder", "llm"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.5, "Share of the weights of each matrix to remove."),
    trains: oneOf(["lora", "few"], "Masked low-rank updates, or norms, biases and the head alone."),
    pattern: patternOption,
    among: amongOption,
  },
  plan: ({ sparsity, trains, pattern, among }) => ({
    ...layered(sparsity, "uniform", among),
    pattern: patternNamed(pattern),
    recovery: [trains === "lora" ? lowRankUpdates() : fewParameters()],
  }),
  reproduction: {
    claim:
      "Few parameters take away much of what magnitude costs, low-rank updates more than norms and head; with them magnitude beats Wanda without.",
    testbeds: languageTestbeds,
    run: (bench, plan) =>
      bench.compare({
        budget: "weights",
        by: "loss",
        among: { prunable: "no-head" },
        removed: [0.5, 0.6],
        calibration: 64,
        arms: {
          "magnitude, then LoRA": { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head" }) },
          "magnitude, then norms and head": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", trains: "few" }),
          },
          magnitude: { plan: ({ removed }) => layered(removed, "uniform", "no-head") },
          Wanda: { plan: ({ removed }) => wanda.plan({ sparsity: removed, among: "no-head" }) },
        },
        expect: [
          { better: "magnitude, then norms and head", than: "magnitude", at: [0.5, 0.6], by: 0 },
          { better: "magnitude, then LoRA", than: "magnitude, then norms and head", at: [0.5, 0.6], by: 0 },
          { better: "magnitude, then LoRA", than: "Wanda", at: [0.5, 0.6], by: 0 },
        ],
      }),
  },
});
