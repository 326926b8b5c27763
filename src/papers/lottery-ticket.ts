import { trainingPaper } from "../claims/paper.ts";
import { fraction, oneOf, whole } from "../claims/plan-options.ts";
import { roundsAt } from "../sparsify/training/rounds.ts";

/** Trains, prunes the smallest survivors, goes back to the first parameters, and trains again. */
export const lotteryTicket = trainingPaper({
  id: "lottery-ticket",
  summary: "Rounds of training and pruning, back to the first parameters each time.",
  cite: {
    title: "The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks",
    year: 2018,
    arxiv: "1803.03635",
    equation: "Section 2, strategy 1",
  },
  code: "github:facebookresearch/open_lth",
  golden: "None: masks follow from training runs, which are not the same bit for bit in another framework.",
  departures: [
    "The output layer loses the same share as the others; the paper prunes it at half the rate.",
    "Optimiser, rate and length are those of the testbed's lessons, AdamW, in place of Adam at 0.0012.",
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
    scope: ["local"],
    iterations: ["iterative"],
    recovery: ["fine-tuning"],
    models: ["mlp", "cnn"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.9, "Share of all weights that the last ticket is without."),
    rounds: whole(10, "Rounds; each removes the same share of the survivors.", 1, 40),
    control: oneOf(["ticket", "reinit", "shuffle"], "What the last round starts with."),
  },
  plan: ({ sparsity, rounds, control }) => ({
    kind: "rounds",
    ...{ sparsity, rounds, control },
    scope: "uniform",
    rewind: { weights: 0, schedule: 0 },
  }),
  reproduction: {
    claim:
      "A ticket with 13 % of the weights is as good as the dense network, and at 3.5 % it beats the same mask with other first parameters by a point, and one round.",
    testbeds: ["glyphs-mlp", "mnist-mlp"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.866, 0.965],
        epochs: 3,
        arms: {
          ticket: ({ removed }) => plan({ sparsity: removed, rounds: roundsAt(removed, 0.2) }),
          reinit: ({ removed }) => plan({ sparsity: removed, rounds: roundsAt(removed, 0.2), control: "reinit" }),
          shuffled: ({ removed }) => plan({ sparsity: removed, rounds: roundsAt(removed, 0.2), control: "shuffle" }),
          "one round": ({ removed }) => plan({ sparsity: removed, rounds: 1 }),
        },
        expect: [
          { better: "ticket", than: "reinit", at: [0.965], by: 1 },
          { better: "ticket", than: "shuffled", at: [0.965], by: 0 },
          { better: "ticket", than: "one round", at: [0.965], by: 0 },
        ],
      }),
  },
});
