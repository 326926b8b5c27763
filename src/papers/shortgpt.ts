import { paper } from "../claims/paper.ts";
import { fraction, oneOf, without } from "../claims/plan-options.ts";
import { layers } from "../plans/methods.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";

/** Drops the blocks that turn what passes them least. */
export const shortgpt = paper({
  id: "shortgpt",
  summary: "Whole blocks by how little they turn what passes them.",
  cite: {
    title: "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect",
    year: 2024,
    arxiv: "2403.03853",
    equation: "Eq. 1",
  },
  code: "github:icip-cas/ShortGPT",
  golden: "None yet: its models are language models of billions; the score is tested against cosines by hand.",
  departures: [
    "A block is as many residual branches behind each other as `branches` says, found in the graph: 2 are an attention and its MLP.",
    "Directions are those of the residual stream, also behind the last block, where the original looks behind the last norm.",
    "Skipping blocks for the prompt alone is left out.",
  ],
  record: {
    removes: ["layer"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["similarity", "activation"],
    learn: ["none"],
    fusion: ["none"],
    data: ["unlabelled"],
    supervision: ["none"],
    scope: ["global"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["cnn", "vit", "encoder", "llm"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.25, "Share to remove."),
    of: oneOf(["units", "params", "macs"], "What `sparsity` is a share of; units are blocks."),
    branches: oneOf(["block", "single"], "Whether attention and MLP go together."),
    distance: oneOf(["cosine", "angle"], "1 - cosine, or the angle."),
    tokens: oneOf(["all", "last"], "Tokens whose directions count."),
    first: oneOf(["counts", "excluded"], "Whether the first token counts."),
  },
  plan: ({ sparsity, of, branches, distance, tokens, first }) => ({
    kind: "branches",
    criterion: { id: "influence", distance, tokens, excludeFirst: first === "excluded" },
    span: branches === "block" ? 2 : 1,
    target: without(sparsity, of),
    means: false,
    recovery: [],
  }),
  reproduction: {
    claim:
      "Blocks that turn least cost less than blocks by chance; dropping each alone to see finds blocks that are not worse.",
    testbeds: languageTestbeds,
    run: (bench, plan) =>
      bench.compare({
        budget: "params",
        by: "loss",
        among: { units: "inner" },
        removed: [0.17, 0.35, 0.52],
        calibration: 64,
        arms: {
          influence: { plan: ({ removed }) => plan({ sparsity: removed, of: "params" }) },
          "influence, first token excluded": {
            plan: ({ removed }) => plan({ sparsity: removed, of: "params", first: "excluded" }),
          },
          "angle at the last token": {
            plan: ({ removed }) => plan({ sparsity: removed, of: "params", distance: "angle", tokens: "last" }),
          },
          "influence, attention and MLP apart": {
            plan: ({ removed }) => plan({ sparsity: removed, of: "params", branches: "single" }),
          },
          "error of each block": {
            plan: ({ removed }) => ({ ...layers({ criterion: "error", keepParams: 1 - removed }), span: 2 }),
          },
          "random blocks": {
            plan: ({ removed }) => ({ ...layers({ criterion: "random", keepParams: 1 - removed }), span: 2 }),
          },
        },
        expect: [
          { better: "influence", than: "random blocks", at: [0.17, 0.35, 0.52], by: 0 },
          { better: "error of each block", than: "influence", at: [0.17, 0.35, 0.52], by: -0.05 },
        ],
      }),
  },
});
