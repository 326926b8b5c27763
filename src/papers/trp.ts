import { paper } from "../claims/paper.ts";
import { fraction, oneOf } from "../claims/plan-options.ts";
import type { Phase } from "../claims/reproduction.ts";
import type { TrainedRanks } from "../sparsify/training/trained-ranks.ts";

const ranks: TrainedRanks = {
  factors: "channel",
  rule: { kind: "energy", share: 0.98 },
  every: 20,
  from: 0.1,
  nuclear: 3e-4,
  prunable: "no-stem",
};
const learn = (changes: Partial<TrainedRanks>): Phase => ({
  kind: "train",
  plan: { kind: "ranks", ranks: { ...ranks, ...changes } },
});

/** Cuts kernels to a lower rank again and again while they learn; then two smaller convolutions take the place of one. */
export const trp = paper({
  id: "trp",
  summary: "Convolutions become two of low rank, after a training that cut their kernels to low rank again and again.",
  cite: {
    title: "Trained Rank Pruning for Efficient Deep Neural Networks",
    year: 2018,
    arxiv: "1812.02402",
    equation: "Algorithm 1",
  },
  code: "github:yuhuixu1993/Trained-Rank-Pruning",
  golden: "None: what is decomposed is the outcome of training; factors are held to their product.",
  departures: [
    "Ranks meet a share of multiply-accumulates by one share of energy for all layers, instead of a threshold for singular values.",
    "A layer is only taken apart where that costs less.",
    "Kernels keep 98 % of their energy at each cut, as the paper has it; its code keeps 90 %.",
    "The first tenth of a run is left alone.",
  ],
  record: {
    removes: ["channel"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["magnitude"],
    learn: ["regularisation"],
    fusion: ["decomposition"],
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
  options: {
    sparsity: fraction(0.5, "Share of the multiply-accumulates to remove."),
    factors: oneOf(["channel", "spatial", "decoupled"], "How kernels are laid out as matrices."),
  },
  plan: ({ sparsity, factors }) => ({
    kind: "ranks",
    criterion: { id: "energy" },
    factors,
    target: { kind: "macs", keep: 1 - sparsity },
    prunable: "no-stem",
    windows: true,
    recovery: [],
  }),
  exempt: { nests: "Ranks are counts: the factors of a lower rank are other numbers." },
  reproduction: {
    claim:
      "At a third of the work and without fine-tuning, ranks trained with cuts and the nuclear norm lose less than half a point by being taken apart, where plain training loses more than three.",
    testbeds: ["glyphs-narrow"],
    run: (bench, plan) =>
      bench.train({
        budget: "macs",
        removed: [0.67],
        epochs: 2,
        arms: {
          "TRP and nuclear norm": ({ removed }) => [learn({}), { kind: "prune", plan: plan({ sparsity: removed }) }],
          TRP: ({ removed }) => [learn({ nuclear: 0 }), { kind: "prune", plan: plan({ sparsity: removed }) }],
          "nuclear norm": ({ removed }) => [
            learn({ rule: null }),
            { kind: "prune", plan: plan({ sparsity: removed }) },
          ],
          "plain training": ({ removed }) => [{ kind: "train" }, { kind: "prune", plan: plan({ sparsity: removed }) }],
          "TRP and nuclear norm, whole": () => [learn({})],
        },
        expect: [
          { better: "TRP and nuclear norm", than: "TRP and nuclear norm, whole", at: [0.67], by: -0.5 },
          { better: "TRP and nuclear norm", than: "plain training", at: [0.67], by: 3 },
        ],
      }),
  },
});
