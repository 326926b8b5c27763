import { paper } from "../claims/paper.ts";
import { amongOption, fraction, oneOf, patternNamed, patternOption } from "../claims/plan-options.ts";
import { wanda as wandaScore } from "../criteria/inputs/wanda.ts";
import { layered } from "../plans/layered.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";

/** Removes, in each row, the weights whose magnitude times input norm is smallest: Sᵢⱼ = |Wᵢⱼ| · ‖Xⱼ‖₂. */
export const wanda = paper({
  id: "wanda",
  summary: "Single weights by magnitude times input norm, row by row.",
  cite: {
    title: "A Simple and Effective Pruning Approach for Large Language Models",
    year: 2023,
    arxiv: "2306.11695",
    equation: "Eq. 1",
  },
  code: "github:locuslab/wanda lib/prune.py",
  golden: "None yet: its models are language models; the invariance to scaled features is tested instead.",
  departures: [
    "The norm is a root mean over tokens or positions, which leaves the order within a row unchanged.",
    "A convolution is a matrix [out, in × kernel], all positions of the kernel sharing the norm of their channel.",
    "All layers are calibrated on the dense model; the original walks block by block behind pruned ones.",
    "N:M keeps N of M along the input channels at a fixed kernel position.",
  ],
  record: {
    removes: ["weight", "n:m"],
    speedup: ["unstructured", "semi-structured"],
    when: ["after"],
    criterion: ["magnitude", "activation"],
    learn: ["none"],
    fusion: ["none"],
    data: ["unlabelled"],
    supervision: ["none"],
    scope: ["local"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["mlp", "cnn", "vit", "llm"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.5, "Share of the weights of each row to remove."),
    scope: oneOf(["row", "tensor"], "Whether weights compete in their row or in their layer."),
    pattern: patternOption,
    among: amongOption,
  },
  plan: ({ sparsity, scope, pattern, among }) => ({
    kind: "weights",
    prunable: among,
    criterion: wandaScore(),
    pattern: patternNamed(pattern),
    scope,
    profile: "uniform",
    sparsity,
    recovery: [],
  }),
  reproduction: {
    claim:
      "At the same share of every layer, the input norm beats magnitude alone; on image classifiers a whole layer is as good a scope as a row.",
    testbeds: ["cifar-resnet20", "glyphs"],
    run: (bench, plan) =>
      bench.compare({
        budget: "weights",
        removed: [0.5, 0.6],
        calibration: 128,
        arms: {
          "Wanda, row": { plan: ({ removed }) => plan({ sparsity: removed }) },
          "Wanda, layer": { plan: ({ removed }) => plan({ sparsity: removed, scope: "tensor" }) },
          "uniform magnitude": { plan: ({ removed }) => layered(removed, "uniform") },
        },
        expect: [
          { better: "Wanda, row", than: "uniform magnitude", at: [0.5, 0.6], by: 0 },
          { better: "Wanda, layer", than: "Wanda, row", at: [0.5, 0.6], by: -0.5 },
        ],
      }),
  },
  also: {
    "language models": {
      claim:
        "At the same share of every matrix of the blocks, the input norm beats magnitude alone, and rows are a better scope than matrices.",
      testbeds: languageTestbeds,
      run: (bench, plan) =>
        bench.compare({
          budget: "weights",
          by: "loss",
          among: { prunable: "no-head" },
          removed: [0.5, 0.6],
          calibration: 64,
          arms: {
            "Wanda, row": { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head" }) },
            "Wanda, layer": { plan: ({ removed }) => plan({ sparsity: removed, among: "no-head", scope: "tensor" }) },
            "uniform magnitude": { plan: ({ removed }) => layered(removed, "uniform", "no-head") },
          },
          expect: [
            { better: "Wanda, row", than: "uniform magnitude", at: [0.5, 0.6], by: 0 },
            { better: "Wanda, row", than: "Wanda, layer", at: [0.5, 0.6], by: 0 },
            { better: "uniform magnitude", than: "random", at: [0.5, 0.6], by: 0 },
          ],
        }),
    },
  },
});
