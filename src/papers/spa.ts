import { unitAllocationDefaults } from "../allocation/units.ts";
import { paper } from "../claims/paper.ts";
import { fraction, oneOf, shareOf, without } from "../claims/plan-options.ts";
import { obs } from "../criteria/inputs/obs.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { leastSquares } from "../recovery/lsq.ts";
import { normEstimation } from "../recovery/norm.ts";

const recoveries = {
  lsq: [leastSquares({ layers: "cut" })],
  "lsq and norm": [leastSquares({ layers: "cut" }), normEstimation()],
  norm: [normEstimation()],
  none: [],
} as const;

/** Removes the coupled channels of least score over the whole model, and refits what read them. */
export const spa = paper({
  id: "spa",
  summary: "Coupled channels of any graph by any criterion; OBSPA refits the consumers and needs no training.",
  cite: {
    title: "Structurally Prune Anything: Any Architecture, Any Framework, Any Time",
    year: 2024,
    arxiv: "2403.18955",
    equation: "Section 3",
  },
  code: null,
  golden: "None: no code is public.",
  departures: [
    "Coupled channels come from factored axes instead of pushing masks through the graph.",
    "Removed inputs are made up for by the joint optimum, least squares with a bias, instead of column by column.",
    "The least squares aim at what the original gives, from inputs of the partly pruned model.",
    "OBSPA-OOD is left out: no second set of the same shape is at hand. Untrained models are a paper of their own here.",
  ],
  record: {
    removes: ["channel", "head"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["sensitivity", "magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["unlabelled", "none"],
    supervision: ["self"],
    scope: ["global"],
    iterations: ["one-shot"],
    recovery: ["layer-wise", "norm", "none"],
    models: ["mlp", "cnn", "vit", "encoder", "llm", "recurrent"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.3, "Share to remove."),
    of: shareOf,
    criterion: oneOf(["obs", "l1"], "OBSPA's saliency, or SPA-L1."),
    recovery: oneOf(["lsq", "lsq and norm", "norm", "none"], "What repairs the rest; without data only none works."),
  },
  plan: ({ sparsity, of, criterion, recovery }) => ({
    kind: "units",
    criterion: criterion === "obs" ? obs() : magnitude(1),
    scores: { members: "all", reduce: criterion === "obs" ? "sum" : "mean", normalise: "mean" },
    target: without(sparsity, of),
    allocation: { ...unitAllocationDefaults, scope: "global" },
    recovery: recoveries[recovery],
  }),
  reproduction: {
    claim:
      "Without training, OBSPA on real inputs beats OBSPA on noise, which beats SPA-L1; against SPA-L1 with the same norms by 5 points.",
    testbeds: ["cifar-resnet20", "glyphs"],
    run: (bench, plan) =>
      bench.compare({
        budget: "macs",
        removed: [0.1, 0.2, 0.3],
        calibration: 256,
        arms: {
          "OBSPA-ID": { plan: ({ removed }) => plan({ sparsity: removed }) },
          "OBSPA-ID, norm": { plan: ({ removed }) => plan({ sparsity: removed, recovery: "lsq and norm" }) },
          "OBSPA-DataFree": { plan: ({ removed }) => plan({ sparsity: removed }), data: "noise" },
          "SPA-L1, norm": { plan: ({ removed }) => plan({ sparsity: removed, criterion: "l1", recovery: "norm" }) },
          "SPA-L1, lsq": { plan: ({ removed }) => plan({ sparsity: removed, criterion: "l1", recovery: "lsq" }) },
          "SPA-L1": { plan: ({ removed }) => plan({ sparsity: removed, criterion: "l1", recovery: "none" }) },
        },
        expect: [
          { better: "OBSPA-ID", than: "OBSPA-DataFree", at: [0.1, 0.2, 0.3], by: 0 },
          { better: "OBSPA-DataFree", than: "SPA-L1", at: [0.1, 0.2, 0.3], by: 0 },
          { better: "OBSPA-ID", than: "SPA-L1, norm", at: [0.1, 0.2, 0.3], by: 5 },
        ],
      }),
  },
});
