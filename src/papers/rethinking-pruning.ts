import { paper } from "../claims/paper.ts";
import { fraction, shareOf, without } from "../claims/plan-options.ts";
import type { Phase } from "../claims/reproduction.ts";
import type { UnitScoreOptions } from "../criteria/unit-scores.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { sparse, structured } from "../plans/methods.ts";

/** The filters that make a unit, and not what reads it. */
const ofFilters: UnitScoreOptions = { members: "output", reduce: "mean", normalise: "mean" };

const train: Phase = { kind: "train" };
const anew: Phase = { kind: "redraw" };
const asBefore: Phase = { kind: "train", length: "as before" };
const fineTune: Phase = { kind: "train", length: 0.25, rate: 0.1 };

/** Removes filters with the least absolute sum; what its weights are worth shows when the shape is trained from nothing. */
export const rethinkingPruning = paper({
  id: "rethinking-pruning",
  summary: "Audits a pruned network: its shape, trained from first parameters with the same compute, is the control.",
  cite: {
    title: "Rethinking the Value of Network Pruning",
    year: 2018,
    arxiv: "1810.05270",
    equation: "Section 3",
  },
  code: "github:Eric-mingjie/rethinking-network-pruning",
  golden: "None: the protocol is about trainings, which are not the same bit for bit in another framework.",
  departures: [
    "Of the six methods under audit two are here: filters by L1 with the same share of every group, and single weights by global magnitude.",
    "Equal compute is forward and backward multiply-accumulates of all trainings before, not forward FLOPs of one.",
    "Of single weights, zeros are counted like others, so that equal compute is equal epochs.",
    "The last state is judged; the code reports the best epoch on the test set.",
  ],
  record: {
    removes: ["channel"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["none"],
    supervision: ["none"],
    scope: ["local"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["mlp", "cnn"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.5, "Share of what is counted that goes."),
    of: shareOf,
  },
  plan: ({ sparsity, of }) => ({
    ...structured({ criterion: magnitude(1), sparsity, scope: "group", scores: ofFilters }),
    target: without(sparsity, of),
  }),
  reproduction: {
    claim:
      "The shape of a network cut by filters, trained from first parameters with the same compute, is as good as the fine-tuned cut; of single weights at a high share, fine-tuning wins.",
    testbeds: ["glyphs-mlp", "glyphs-lenet5", "glyphs-vgg"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.5, 0.95],
        epochs: 3,
        arms: {
          "filters, fine-tuned": ({ removed }) => [
            train,
            { kind: "prune", plan: plan({ sparsity: removed, of: "params" }) },
            fineTune,
          ],
          "filters, anew": ({ removed }) => [
            train,
            { kind: "prune", plan: plan({ sparsity: removed, of: "params" }) },
            anew,
            train,
          ],
          "filters, anew with equal compute": ({ removed }) => [
            train,
            { kind: "prune", plan: plan({ sparsity: removed, of: "params" }) },
            anew,
            asBefore,
          ],
          "weights, fine-tuned": ({ removed }) => [
            train,
            { kind: "prune", plan: sparse({ scope: "global", sparsity: removed }) },
            fineTune,
          ],
          "weights, anew with equal compute": ({ removed }) => [
            train,
            { kind: "prune", plan: sparse({ scope: "global", sparsity: removed }) },
            anew,
            asBefore,
          ],
        },
        expect: [
          { better: "filters, anew with equal compute", than: "filters, fine-tuned", at: [0.5], by: -0.5 },
          { better: "filters, anew with equal compute", than: "filters, anew", at: [0.5], by: 0 },
          { better: "weights, fine-tuned", than: "weights, anew with equal compute", at: [0.95], by: 1 },
        ],
      }),
  },
});
