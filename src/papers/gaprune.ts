import { paper } from "../claims/paper.ts";
import { amongOption, fraction, oneOf } from "../claims/plan-options.ts";
import { alignment } from "../criteria/gradients/alignment.ts";
import { fisher } from "../criteria/gradients/curvature.ts";
import { layered } from "../plans/layered.ts";
import { finetune } from "../recovery/finetune.ts";
import { essentialSparsity } from "./essential-sparsity.ts";

const trained = [finetune({ settings: { length: { updates: 100 }, batchSize: 16, rate: 2e-4 } })];

/** Removes weights that are worth little to a domain beyond what they are worth to general data, where gradients disagree. */
export const gaprune = paper({
  id: "gaprune",
  summary: "Single weights by importance to a domain beyond the general, where both gradients agree.",
  cite: {
    title: "GAPrune: Gradient-Alignment Pruning for Domain-Aware Embeddings",
    year: 2025,
    arxiv: "2509.10844",
    equation: "the score DAI, as the code has it",
  },
  code: "github:yixuantt/GAPrune",
  golden: "None: its models are embedding models of billions; the score is tested against its definition.",
  departures: [
    "Models tell the next token and are judged by its loss; the original embeds texts and learns from triplets.",
    "All matrices of the blocks take part, not those of MLPs alone.",
    "Fisher numbers are shares of their mean and the alignment is counted per weight; as published, which `formula` can ask for, both vanish beside the root of the weight.",
    "Squares are of the gradient of each sample, not of batches of four.",
    "Samples are drawn, not chosen from clusters.",
  ],
  record: {
    removes: ["weight"],
    speedup: ["unstructured"],
    when: ["after"],
    criterion: ["sensitivity", "magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["labelled"],
    supervision: ["supervised"],
    scope: ["global", "local"],
    iterations: ["one-shot"],
    recovery: ["none", "fine-tuning"],
    models: ["encoder", "llm"],
    guarantee: ["heuristic"],
    gradients: true,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.5, "Share of the weights to remove."),
    formula: oneOf(["scaled", "published"], "Fisher numbers as shares of their mean, or as they are."),
    scope: oneOf(["global", "tensor"], "One threshold for all weights, or the same share of each matrix."),
    recovery: oneOf(["none", "trained"], "Whether what is left is trained on the domain afterwards, for 100 updates."),
    among: amongOption,
  },
  plan: ({ sparsity, formula, scope, recovery, among }) => ({
    ...layered(sparsity, "uniform", among),
    criterion: alignment({ scaled: formula === "scaled" }),
    scope,
    recovery: recovery === "trained" ? trained : [],
  }),
  reproduction: {
    claim:
      "Importance to the domain beyond the general loses less of the domain than magnitude and than importance to general text, also after training; as published the score orders weights by their size.",
    testbeds: ["stories260k", "tinylm-linux", "tinylm-drama"],
    run: (bench, plan) =>
      bench.compare({
        budget: "weights",
        by: "loss",
        further: ["general loss"],
        among: { prunable: "no-head" },
        removed: [0.5, 0.7],
        calibration: 32,
        arms: {
          GAPrune: { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head" }) },
          "GAPrune, each matrix alike": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", scope: "tensor" }),
          },
          "GAPrune, as published": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", formula: "published" }),
          },
          "Fisher of the domain": {
            plan: ({ removed }) => ({
              ...layered(removed, "uniform", "no-head"),
              criterion: fisher("gradientSquare"),
              scope: "global",
            }),
          },
          "Fisher of general text": {
            plan: ({ removed }) => ({
              ...layered(removed, "uniform", "no-head"),
              criterion: fisher("generalGradientSquare"),
              scope: "global",
            }),
          },
          magnitude: { plan: ({ removed }) => essentialSparsity.plan({ sparsity: removed, among: "no-head" }) },
          "GAPrune, then trained": {
            at: [0.7],
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", recovery: "trained" }),
          },
          "magnitude, then trained": {
            at: [0.7],
            plan: ({ removed }) => ({
              ...essentialSparsity.plan({ sparsity: removed, among: "no-head" }),
              recovery: trained,
            }),
          },
        },
        expect: [
          { better: "GAPrune", than: "magnitude", at: [0.5, 0.7], by: 0 },
          { better: "GAPrune", than: "Fisher of general text", at: [0.5, 0.7], by: 0 },
          { better: "GAPrune", than: "Fisher of the domain", at: [0.5, 0.7], by: 0 },
          { better: "GAPrune, then trained", than: "magnitude, then trained", at: [0.7], by: 0 },
          { better: "GAPrune, as published", than: "magnitude", at: [0.5, 0.7], by: -0.02 },
          { better: "magnitude", than: "GAPrune, as published", at: [0.5, 0.7], by: -0.02 },
          { better: "GAPrune", than: "random", at: [0.5, 0.7], by: 0 },
        ],
      }),
  },
});
