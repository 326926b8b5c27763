import { unitAllocationDefaults } from "../allocation/units.ts";
import { paper } from "../claims/paper.ts";
import { fraction, oneOf, shareOf, without } from "../claims/plan-options.ts";
import { beforeTraining } from "../claims/reproduction.ts";
import { criterionNamed } from "../criteria/registry.ts";

/** Removes coupled channels by a criterion of gradients before the network is trained; then it is trained, smaller. */
export const spaBeforeTraining = paper({
  id: "spa-before-training",
  summary: "Coupled channels go before training by SNIP, GraSP or CroP summed over the group; what is left is trained.",
  cite: {
    title: "Structurally Prune Anything: Any Architecture, Any Framework, Any Time",
    year: 2024,
    arxiv: "2403.18955",
    equation: "Section 3, SPA-SNIP, SPA-CroP and SPA-GraSP",
  },
  code: null,
  golden: "None: no code is public.",
  departures: [
    "Coupled channels come from factored axes instead of pushing masks through the graph.",
    "Products with the Hessian come from a second backward pass at softened logits, not from differences.",
    "Norms run as they serve, with their first statistics, while gradients are taken.",
  ],
  record: {
    removes: ["channel", "head"],
    speedup: ["structured"],
    when: ["before"],
    criterion: ["sensitivity", "magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["labelled", "none"],
    supervision: ["supervised"],
    scope: ["global"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["mlp", "cnn", "vit", "encoder", "recurrent"],
    guarantee: ["heuristic"],
    gradients: true,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.5, "Share to remove."),
    of: shareOf,
    criterion: oneOf(
      ["snip", "grasp", "crop", "l1"],
      "What every weight, bias and scale of a channel adds to its score.",
    ),
  },
  plan: ({ sparsity, of, criterion }) => ({
    kind: "units",
    criterion: criterionNamed(criterion),
    scores: { members: "all", reduce: criterion === "l1" ? "mean" : "sum", normalise: "mean" },
    target: without(sparsity, of),
    allocation: { ...unitAllocationDefaults, scope: "global" },
    recovery: [],
  }),
  reproduction: {
    claim:
      "Of half of the multiply-accumulates, SPA-SNIP's choice trains to half a point more than a random one, and SPA-GraSP's to no less.",
    testbeds: ["glyphs-narrow", "glyphs-resnet8"],
    run: (bench, plan) =>
      bench.train({
        budget: "macs",
        removed: [0.5],
        epochs: 4,
        arms: {
          "SPA-SNIP": ({ removed }) => beforeTraining(plan({ sparsity: removed })),
          "SPA-GraSP": ({ removed }) => beforeTraining(plan({ sparsity: removed, criterion: "grasp" })),
          "SPA-L1": ({ removed }) => beforeTraining(plan({ sparsity: removed, criterion: "l1" })),
        },
        expect: [
          { better: "SPA-SNIP", than: "random, static", at: [0.5], by: 0.5 },
          { better: "SPA-GraSP", than: "random, static", at: [0.5], by: 0 },
        ],
      }),
  },
});
