import { paper } from "../claims/paper.ts";
import { fraction } from "../claims/plan-options.ts";
import type { Phase } from "../claims/reproduction.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { layered } from "../plans/layered.ts";
import { sparse } from "../plans/methods.ts";
import type { Plan } from "../plans/plan.ts";

/** Prunes by magnitude, where each layer's share follows from its weights: squares over the sum of those not smaller. */
export const lamp = paper({
  id: "lamp",
  summary: "Magnitude pruning whose shares of layers come from one threshold on layer-adaptive scores.",
  cite: {
    title: "Layer-adaptive sparsity for the Magnitude-based Pruning",
    year: 2021,
    arxiv: "2010.07611",
    equation: "Eq. 4",
  },
  code: "github:jaeho-lee/layer-adaptive-sparsity",
  golden: "None needed: the score is a formula, tested against sums written out.",
  departures: [
    "Once, halfway through training, in place of twenty rounds of a fifth of the survivors each.",
    "Equal weights have equal scores; the authors' order of ties decides theirs.",
  ],
  record: {
    removes: ["weight"],
    speedup: ["unstructured"],
    when: ["after"],
    criterion: ["magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["none"],
    supervision: ["none"],
    scope: ["allocated"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["mlp", "cnn"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: { sparsity: fraction(0.9, "Share of all weights to remove.") },
  plan: ({ sparsity }) => layered(sparsity, "lamp"),
  reproduction: {
    claim:
      "Trained on after the cut, it is better than one threshold for all magnitudes, which beats the same share of every layer.",
    testbeds: ["glyphs-lenet5", "mnist-lenet5"],
    run: (bench, plan) => {
      const between = (cut: Plan): readonly Phase[] => [
        { kind: "train", length: 0.5, part: [0, 0.5] },
        { kind: "prune", plan: cut },
        { kind: "train", length: 0.5, part: [0.5, 1] },
      ];
      return bench.train({
        removed: [0.95, 0.98],
        epochs: 3,
        arms: {
          LAMP: ({ removed }) => between(plan({ sparsity: removed })),
          "one threshold": ({ removed }) =>
            between(sparse({ criterion: magnitude(2), scope: "global", sparsity: removed })),
          "the same share of layers": ({ removed }) => between(layered(removed, "uniform")),
          ERK: ({ removed }) => between(layered(removed, "erk")),
        },
        expect: [
          { better: "LAMP", than: "one threshold", at: [0.95, 0.98], by: 0 },
          { better: "one threshold", than: "the same share of layers", at: [0.95, 0.98], by: 0 },
          { better: "LAMP", than: "ERK", at: [0.95, 0.98], by: 0 },
        ],
      });
    },
  },
});
