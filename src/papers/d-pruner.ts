import { paper } from "../claims/paper.ts";
import { amongOption, fraction, oneOf } from "../claims/plan-options.ts";
import { pathImportance } from "../criteria/gradients/path-importance.ts";
import { obsSequential } from "../criteria/inputs/obs-sequential.ts";
import { rankMix } from "../criteria/rank-mix.ts";
import { layered } from "../plans/layered.ts";
import { sparsegpt } from "./sparsegpt.ts";
import { wanda } from "./wanda.ts";

const path = { epochs: 5, batchSize: 8, rate: 0.03, clip: 1, expansion: "second-order" } as const;
const general = obsSequential("generalGram");
const domain = pathImportance(path);

/** Removes weights of least importance to a domain, measured while general importance holds them where they are. */
export const dPruner = paper({
  id: "d-pruner",
  summary: "Single weights by importance to a domain, held by what they are worth to general text.",
  cite: {
    title: "Pruning as a Domain-specific LLM Extractor",
    year: 2024,
    arxiv: "2405.06275",
    equation: "the refined loss, and the importance by a Taylor expansion",
  },
  code: "github:psunlpgroup/D-Pruner",
  golden: "None: its models are language models of billions; the path is tested against updates by hand.",
  departures: [
    "General importance is that of the dense model; the original sweeps it block by block and updates it on the way.",
    "The share of the pull is 5 % of the gradient in each matrix; with the published constants it is about a ten-millionth, which `pull` can ask for.",
    "The expansion keeps the paper's sign and leaves out the cube of the weight that the code adds, which `formula` can ask for.",
    "Gradients are clipped before they are pulled.",
    "Weights compete in their matrix; strips of 128 columns are left out.",
    "Nothing is fine-tuned afterwards.",
  ],
  record: {
    removes: ["weight"],
    speedup: ["unstructured"],
    when: ["after"],
    criterion: ["sensitivity", "activation", "magnitude"],
    learn: ["regularisation"],
    fusion: ["none"],
    data: ["labelled"],
    supervision: ["supervised"],
    scope: ["local"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["llm"],
    guarantee: ["heuristic"],
    gradients: true,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.5, "Share of the weights of each matrix to remove."),
    importance: oneOf(
      ["both", "domain", "general", "ranks"],
      "To the domain held by the general, to one alone, or the ranks of both mixed.",
    ),
    share: fraction(0.05, "The pull of general importance, as a share of the gradient."),
    pull: oneOf(["share", "published"], "Whether the pull has that share, or the strength of the paper."),
    formula: oneOf(["paper", "code"], "The expansion of the paper or of its code."),
    among: amongOption,
  },
  plan: ({ sparsity, importance, share, pull, formula, among }) => ({
    ...layered(sparsity, "uniform", among),
    criterion: {
      both: pathImportance({
        ...path,
        expansion: formula === "paper" ? "second-order" : "published-code",
        anchor: { scores: general, strength: pull === "share" ? { share } : { lambda: 0.1 } },
      }),
      domain,
      general,
      ranks: rankMix(domain, general, 0.5),
    }[importance],
  }),
  reproduction: {
    claim:
      "Held by general importance, domain importance loses less of the domain than general importance alone, less of general text than domain importance alone, and more than ranks that are mixed can do.",
    testbeds: ["stories260k", "tinylm-linux", "tinylm-drama"],
    run: (bench, plan) =>
      bench.compare({
        budget: "weights",
        by: "loss",
        further: ["general loss"],
        among: { prunable: "no-head" },
        removed: [0.5, 0.6],
        calibration: 32,
        arms: {
          "D-Pruner": { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head" }) },
          "D-Pruner, pull of 50 %": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", share: 0.5 }),
          },
          "D-Pruner, published pull": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", pull: "published" }),
          },
          "D-Pruner, formula of the code": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", formula: "code" }),
          },
          "domain alone": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", importance: "domain" }),
          },
          "general alone": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", importance: "general" }),
          },
          "ranks mixed": { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", importance: "ranks" }) },
          "Wanda on the domain": { plan: ({ removed }) => wanda.plan({ sparsity: removed, among: "no-head" }) },
          "SparseGPT on the domain": { plan: ({ removed }) => sparsegpt.plan({ sparsity: removed, among: "no-head" }) },
          "uniform magnitude": { plan: ({ removed }) => layered(removed, "uniform", "no-head") },
        },
        expect: [
          { better: "D-Pruner", than: "general alone", at: [0.5, 0.6], by: 0 },
          { better: "D-Pruner", than: "domain alone", at: [0.5, 0.6], by: 0, in: "general loss" },
          { better: "D-Pruner", than: "domain alone", at: [0.5, 0.6], by: -0.05 },
          { better: "D-Pruner, pull of 50 %", than: "D-Pruner", at: [0.5, 0.6], by: 0, in: "general loss" },
          { better: "D-Pruner", than: "ranks mixed", at: [0.5, 0.6], by: 0 },
          { better: "D-Pruner, published pull", than: "domain alone", at: [0.5, 0.6], by: -0.001 },
          { better: "D-Pruner", than: "Wanda on the domain", at: [0.5, 0.6], by: 0 },
          { better: "D-Pruner", than: "random", at: [0.5, 0.6], by: 0 },
        ],
      }),
  },
});
