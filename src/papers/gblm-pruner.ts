import { paper } from "../claims/paper.ts";
import { amongOption, fraction, oneOf, patternNamed, patternOption, whole } from "../claims/plan-options.ts";
import { fisher } from "../criteria/gradients/curvature.ts";
import { gblm } from "../criteria/gradients/gblm.ts";
import { layered } from "../plans/layered.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";
import { wanda } from "./wanda.ts";

/** What a factor of 100 on sums over 128 windows of 2048 tokens is beside means. */
const beside = { l2: 0.25, l1: 2.828 } as const;
const put = { l2: "squares", l1: "sizes" } as const;

/** Removes, in each row, the weights whose magnitude times input and gradient norm is smallest: |W| · (‖X‖ + α · ‖G‖). */
export const gblmPruner = paper({
  id: "gblm-pruner",
  summary: "Single weights by magnitude times the norm of inputs and of gradients, row by row.",
  cite: {
    title: "Beyond Size: How Gradients Shape Pruning Decisions in Large Language Models",
    year: 2023,
    arxiv: "2311.04902",
    equation: "section 3.3",
  },
  code: "github:VILA-Lab/GBLM-Pruner",
  golden:
    "None yet: its models are language models of billions; the score is tested against its definition, and α = 0 is Wanda.",
  departures: [
    "Norms are means over windows and tokens; alpha is converted from sums over 128 windows of 2048 tokens.",
    "All layers are calibrated on the dense model; the original takes inputs behind pruned blocks.",
    "Gradients are float32, nothing is stored in half.",
    "A factor that matches the medians of inputs and gradients in each matrix is this project's.",
  ],
  record: {
    removes: ["weight", "n:m"],
    speedup: ["unstructured", "semi-structured"],
    when: ["after"],
    criterion: ["magnitude", "activation", "sensitivity"],
    learn: ["none"],
    fusion: ["none"],
    data: ["labelled"],
    supervision: ["supervised"],
    scope: ["local"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["mlp", "cnn", "vit", "llm"],
    guarantee: ["heuristic"],
    gradients: true,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.5, "Share of the weights of each row to remove."),
    alpha: whole(100, "How much gradients count, in the units of the paper.", 0, 1_000_000),
    balance: oneOf(["alpha", "matched"], "That factor, or the one at which medians of inputs and gradients agree."),
    gradients: oneOf(["l2", "l1"], "Gradients of windows put together by squares, or by sizes."),
    pattern: patternOption,
    among: amongOption,
  },
  plan: ({ sparsity, alpha, balance, gradients, pattern, among }) => ({
    ...layered(sparsity, "uniform", among),
    criterion: gblm({
      alpha: balance === "matched" ? balance : alpha * beside[gradients],
      gradients: put[gradients],
    }),
    pattern: patternNamed(pattern),
    scope: "row",
  }),
  reproduction: {
    claim:
      "At the same share of every row gradients beside inputs lose less than inputs alone, and both less than gradients alone; the factor matters little.",
    testbeds: languageTestbeds,
    run: (bench, plan) =>
      bench.compare({
        budget: "weights",
        by: "loss",
        among: { prunable: "no-head" },
        removed: [0.5, 0.6, 0.7],
        calibration: 64,
        arms: {
          GBLM: { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head" }) },
          "GBLM, sizes": { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", gradients: "l1" }) },
          "GBLM, a tenth of alpha": { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", alpha: 10 }) },
          "GBLM, ten times alpha": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", alpha: 1000 }),
          },
          "GBLM, matched": {
            plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", balance: "matched" }),
          },
          "gradients alone": {
            plan: ({ removed }) => ({ ...layered(removed, "uniform", "no-head"), criterion: fisher(), scope: "row" }),
          },
          Wanda: { plan: ({ removed }) => wanda.plan({ sparsity: removed, among: "no-head" }) },
          "uniform magnitude": { plan: ({ removed }) => layered(removed, "uniform", "no-head") },
          "GBLM, 2:4": { at: [0.5], plan: () => plan({ pattern: "2:4", among: "no-head" }) },
          "Wanda, 2:4": { at: [0.5], plan: () => wanda.plan({ pattern: "2:4", among: "no-head" }) },
        },
        expect: [
          { better: "GBLM", than: "Wanda", at: [0.5, 0.6, 0.7], by: 0 },
          { better: "GBLM", than: "gradients alone", at: [0.5, 0.6, 0.7], by: 0 },
          { better: "Wanda", than: "gradients alone", at: [0.5, 0.6, 0.7], by: 0 },
          { better: "GBLM", than: "uniform magnitude", at: [0.5, 0.6, 0.7], by: 0 },
          { better: "GBLM", than: "GBLM, a tenth of alpha", at: [0.5, 0.6, 0.7], by: -0.05 },
          { better: "GBLM", than: "GBLM, ten times alpha", at: [0.5, 0.6, 0.7], by: -0.05 },
          { better: "GBLM, 2:4", than: "Wanda, 2:4", at: [0.5], by: 0 },
        ],
      }),
  },
});
