import { unitAllocationDefaults } from "../allocation/units.ts";
import { paper } from "../claims/paper.ts";
import { fraction, shareOf, without } from "../claims/plan-options.ts";
import type { Phase } from "../claims/reproduction.ts";
import { normScale } from "../criteria/weights/norm-scale.ts";
import type { UnitPlan } from "../plans/plan.ts";

const strength = 0.02;
const learn = (length: number, shrink?: "all" | "chosen"): Phase => ({
  kind: "train",
  length,
  ...(shrink === undefined ? {} : { shrink: { scales: shrink, strength } }),
});
const smallest = (target: UnitPlan["target"]): UnitPlan => ({
  kind: "units",
  criterion: normScale(),
  scores: { members: "all", reduce: "mean", normalise: "none" },
  target,
  allocation: { ...unitAllocationDefaults, scope: "global" },
  recovery: [],
});
const choose = (removed: number): Phase => ({ kind: "choose", plan: smallest(without(removed, "macs")) });

/** Chooses channels first, then lets the penalty pull only the scales of those that will go, so that the cut costs nothing. */
export const masksparsity = paper({
  id: "masksparsity",
  summary: "Channels of small norm scales go, after a training whose penalty looks only at the channels that will go.",
  cite: {
    title: "Pruning-aware Sparse Regularization for Network Pruning",
    year: 2022,
    arxiv: "2201.06776",
    equation: "Section 3.2 and Algorithm 1",
  },
  code: "github:CASIA-IVA-Lab/MaskSparsity",
  golden: "None: what is scored is the outcome of training.",
  departures: [
    "Channels are chosen by a target for the whole model instead of a threshold of 0.01, and stay chosen.",
    "Channels that a sum couples go together by the mean of their scales instead of by a vote.",
    "What a removed channel still gives goes into the next bias instead of being dropped.",
    "The penalty is 0.02 instead of 0.0005, since a run has hundreds of updates and not hundreds of thousands.",
  ],
  record: {
    removes: ["channel"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["magnitude"],
    learn: ["regularisation"],
    fusion: ["none"],
    data: ["none"],
    supervision: ["none"],
    scope: ["global"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["cnn"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: { sparsity: fraction(0.5, "Share to remove."), of: shareOf },
  plan: ({ sparsity, of }) => smallest(without(sparsity, of)),
  reproduction: {
    claim:
      "With the penalty on chosen channels only, cutting them costs less than half a point, and after fine-tuning the network is better than with a penalty on all, and than without.",
    testbeds: ["glyphs-narrow"],
    run: (bench) =>
      bench.train({
        budget: "macs",
        removed: [0.5],
        epochs: 4,
        arms: {
          MaskSparsity: ({ removed }) => [
            learn(0.25),
            { kind: "mark" },
            learn(0.25, "all"),
            choose(removed),
            { kind: "return" },
            learn(0.25, "chosen"),
            { kind: "cut" },
            learn(0.25),
          ],
          "penalty on all": ({ removed }) => [
            learn(0.25),
            learn(0.5, "all"),
            choose(removed),
            { kind: "cut" },
            learn(0.25),
          ],
          "no second penalty": ({ removed }) => [
            learn(0.25),
            { kind: "mark" },
            learn(0.25, "all"),
            choose(removed),
            { kind: "return" },
            { kind: "cut" },
            learn(0.5),
          ],
          "MaskSparsity, before the cut": ({ removed }) => [
            learn(0.25),
            { kind: "mark" },
            learn(0.25, "all"),
            choose(removed),
            { kind: "return" },
            learn(0.25, "chosen"),
          ],
          "MaskSparsity, at the cut": ({ removed }) => [
            learn(0.25),
            { kind: "mark" },
            learn(0.25, "all"),
            choose(removed),
            { kind: "return" },
            learn(0.25, "chosen"),
            { kind: "cut" },
          ],
        },
        expect: [
          { better: "MaskSparsity, at the cut", than: "MaskSparsity, before the cut", at: [0.5], by: -0.5 },
          { better: "MaskSparsity", than: "penalty on all", at: [0.5], by: 0.3 },
          { better: "MaskSparsity", than: "no second penalty", at: [0.5], by: 0 },
        ],
      }),
  },
});
