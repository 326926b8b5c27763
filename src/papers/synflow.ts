import { paper } from "../claims/paper.ts";
import { fraction, whole } from "../claims/plan-options.ts";
import { beforeTraining } from "../claims/reproduction.ts";
import { synflow as synapticFlow } from "../criteria/gradients/synflow.ts";
import { snip } from "../criteria/gradients/taylor.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { random } from "../criteria/weights/random.ts";
import { sparse } from "../plans/methods.ts";

/** Removes the weights through which least flows, a little at a time, without data and before training. */
export const synflow = paper({
  id: "synflow",
  summary: "Weights of least synaptic flow go before training in a hundred steps, without data; no layer runs dry.",
  cite: {
    title: "Pruning neural networks without any data by iteratively conserving synaptic flow",
    year: 2020,
    arxiv: "2006.05467",
    equation: "Algorithm 1",
  },
  code: "github:ganguli-lab/Synaptic-Flow",
  golden: "None: the authors compute in float64; conservation, from which the claim follows, is tested instead.",
  departures: [
    "The flow is divided by its own sum so that it fits into float32.",
    "Activations stay what they are; the theory holds for rectified ones without norms.",
  ],
  record: {
    removes: ["weight"],
    speedup: ["unstructured"],
    when: ["before"],
    criterion: ["sensitivity"],
    learn: ["none"],
    fusion: ["none"],
    data: ["none"],
    supervision: ["none"],
    scope: ["global"],
    iterations: ["iterative"],
    recovery: ["none"],
    models: ["mlp", "cnn"],
    guarantee: ["heuristic"],
    gradients: true,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.9, "Share of all weights to remove."),
    rounds: whole(100, "Steps, each by the flow through what is left.", 1, 1000),
  },
  plan: ({ sparsity, rounds }) => sparse({ criterion: synapticFlow(), scope: "global", sparsity, rounds }),
  reproduction: {
    claim:
      "At 90 % it beats a random choice by a point; at 99.5 %, where SNIP, magnitude and one step of its own leave a layer without weights, it still learns.",
    testbeds: ["glyphs-lenet5", "mnist-lenet5"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.9, 0.995],
        epochs: 3,
        arms: {
          SynFlow: ({ removed }) => beforeTraining(plan({ sparsity: removed })),
          "SynFlow, one step": ({ removed }) => beforeTraining(plan({ sparsity: removed, rounds: 1 })),
          SNIP: ({ removed }) => beforeTraining(sparse({ criterion: snip(), scope: "global", sparsity: removed })),
          "magnitude before training": ({ removed }) =>
            beforeTraining(sparse({ criterion: magnitude(1), scope: "global", sparsity: removed })),
          "random, the same share of layers": ({ removed, seed }) =>
            beforeTraining(sparse({ criterion: random(seed), sparsity: removed })),
        },
        expect: [
          { better: "SynFlow", than: "random, the same share of layers", at: [0.9], by: 1 },
          { better: "SynFlow", than: "SynFlow, one step", at: [0.995], by: 5 },
          { better: "SynFlow", than: "SNIP", at: [0.995], by: 5 },
          { better: "SynFlow", than: "magnitude before training", at: [0.995], by: 5 },
        ],
      }),
  },
});
