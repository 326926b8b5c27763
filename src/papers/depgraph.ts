import { unitAllocationDefaults } from "../allocation/units.ts";
import { paper } from "../claims/paper.ts";
import { fraction, oneOf, shareOf, without } from "../claims/plan-options.ts";
import { groupDefaults } from "../criteria/unit-scores.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";

/** Removes the units of coupled groups whose weights are smallest in the mean over all members of the group. */
export const depgraph = paper({
  id: "depgraph",
  summary: "Coupled channels by the magnitude of the whole group; the baseline of structured pruning.",
  cite: {
    title: "DepGraph: Towards Any Structural Pruning",
    year: 2023,
    arxiv: "2301.12900",
    equation: "Section 3.3",
  },
  code: "github:VainF/Torch-Pruning",
  golden: "None: its groups follow traced modules, so that its scores have no counterpart in an ONNX file.",
  departures: [
    "Groups come from factored axes of the graph instead of traced layers and index lists.",
    "A group is never emptied; where the original skips a group that would lose everything, one unit stays.",
    "Sparse training, its best result, is left out: it trains.",
    "Scales of norms do not count towards the score of a group.",
  ],
  record: {
    removes: ["channel", "head"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["none"],
    supervision: ["none"],
    scope: ["local", "global"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["mlp", "cnn", "vit", "encoder", "llm", "recurrent"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.5, "Share to remove."),
    of: shareOf,
    scope: oneOf(["local", "global"], "Whether units compete in their group or in the whole model."),
  },
  plan: ({ sparsity, of, scope }) => ({
    kind: "units",
    criterion: magnitude(2),
    scores: groupDefaults,
    target: without(sparsity, of),
    allocation: { ...unitAllocationDefaults, scope: scope === "global" ? "global" : "group" },
    recovery: [],
  }),
  reproduction: {
    claim: "Scores of the whole group are not worse than those of its first member, and better than chance.",
    testbeds: ["cifar-resnet20", "glyphs"],
    run: (bench, plan) =>
      bench.compare({
        budget: "macs",
        removed: [0.1, 0.2, 0.3],
        arms: {
          "group L2, local": { plan: ({ removed }) => plan({ sparsity: removed }) },
          "group L2, global": { plan: ({ removed }) => plan({ sparsity: removed, scope: "global" }) },
          "first member L1, local": {
            plan: ({ removed }) => ({
              kind: "units",
              criterion: magnitude(1),
              scores: { members: "output", reduce: "mean", normalise: "mean" },
              target: without(removed, "macs"),
              allocation: unitAllocationDefaults,
              recovery: [],
            }),
          },
        },
        expect: [
          { better: "group L2, local", than: "first member L1, local", at: [0.1, 0.2, 0.3], by: -0.5 },
          { better: "group L2, local", than: "random", at: [0.1, 0.2, 0.3], by: 1 },
        ],
      }),
  },
});
