import { trainingPaper } from "../claims/paper.ts";
import { fraction, oneOf, whole } from "../claims/plan-options.ts";

/** Rounds of training and pruning that go back to an early point of the training, not to its start. */
export const lateRewinding = trainingPaper({
  id: "late-rewinding",
  summary: "Rounds of training and pruning, back to an early point of the training each time.",
  cite: {
    title: "Stabilizing the Lottery Ticket Hypothesis",
    year: 2019,
    arxiv: "1903.01611",
    equation: "Algorithm 2",
  },
  code: "github:facebookresearch/open_lth",
  golden: "None: masks follow from training runs, which are not the same bit for bit in another framework.",
  departures: [
    "Optimiser, rate and length are those of the testbed's lessons, AdamW, in place of momentum at 0.1.",
    "The point to go back to is a share of the run.",
    "Accuracy is compared; the distances between networks by which the paper explains it are not measured.",
  ],
  record: {
    removes: ["weight"],
    speedup: ["unstructured"],
    when: ["after"],
    criterion: ["magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["training set"],
    supervision: ["supervised"],
    scope: ["global"],
    iterations: ["iterative"],
    recovery: ["fine-tuning"],
    models: ["cnn"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.9, "Share of all weights that the last ticket is without."),
    rounds: whole(1, "Rounds; each removes the same share of the survivors.", 1, 40),
    to: fraction(0.05, "Share of the run to whose end weights and schedule go back."),
    control: oneOf(["ticket", "reinit", "shuffle"], "What the last round starts with."),
  },
  plan: ({ sparsity, rounds, to, control }) => ({
    kind: "rounds",
    ...{ sparsity, rounds, control },
    scope: "global",
    rewind: { weights: to, schedule: to },
  }),
  reproduction: {
    claim:
      "Going back to a twentieth of the run is better than to its start, by half a point at a density of 5 to 10 %, and both are better than other first parameters.",
    testbeds: ["glyphs-lenet5", "glyphs-resnet8", "mnist-lenet5"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.95],
        epochs: 3,
        arms: {
          "to the start": ({ removed }) => plan({ sparsity: removed, to: 0 }),
          "to a twentieth": ({ removed }) => plan({ sparsity: removed }),
          "to a fifth": ({ removed }) => plan({ sparsity: removed, to: 0.2 }),
          "other parameters": ({ removed }) => plan({ sparsity: removed, to: 0, control: "reinit" }),
          "fine-tuned": ({ removed }) => ({
            kind: "rounds",
            ...{ sparsity: removed, rounds: 1, scope: "global" },
            rewind: { weights: null, schedule: 0.75 },
          }),
        },
        expect: [
          { better: "to a twentieth", than: "to the start", at: [0.95], by: 0.5 },
          { better: "to a twentieth", than: "other parameters", at: [0.95], by: 0 },
          { better: "to the start", than: "other parameters", at: [0.95], by: 0 },
        ],
      }),
  },
});
