import { paper } from "../claims/paper.ts";
import { fraction, whole } from "../claims/plan-options.ts";
import { beforeTraining } from "../claims/reproduction.ts";
import { snip as connectionSensitivity } from "../criteria/gradients/taylor.ts";
import { random } from "../criteria/weights/random.ts";
import { sparse } from "../plans/methods.ts";

/** Removes the weights whose absence changes the loss least, to first order, before the network is trained. */
export const snip = paper({
  id: "snip",
  summary: "Weights of least |w · gradient| go before training, from the whole network at once.",
  cite: {
    title: "SNIP: Single-shot Network Pruning based on Connection Sensitivity",
    year: 2018,
    arxiv: "1810.02340",
    equation: "Eq. 3 and 4",
  },
  code: "github:namhoonlee/snip-public",
  golden:
    "None: scores follow from a batch of the authors' TensorFlow graph; the criterion has tests against PyTorch's gradients.",
  departures: [
    "Sensitivities are not divided by their sum, which changes no rank.",
    "512 labelled inputs are looked at, in place of a mini-batch of 100.",
    "Norms run as they serve, with their first statistics.",
  ],
  record: {
    removes: ["weight"],
    speedup: ["unstructured"],
    when: ["before"],
    criterion: ["sensitivity"],
    learn: ["none"],
    fusion: ["none"],
    data: ["labelled"],
    supervision: ["supervised"],
    scope: ["global"],
    iterations: ["one-shot", "iterative"],
    recovery: ["none"],
    models: ["mlp", "cnn", "recurrent"],
    guarantee: ["heuristic"],
    gradients: true,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.9, "Share of all weights to remove."),
    rounds: whole(1, "Steps, each by the sensitivity of what is left (FORCE, iterative SNIP).", 1, 300),
  },
  plan: ({ sparsity, rounds }) => sparse({ criterion: connectionSensitivity(), scope: "global", sparsity, rounds }),
  reproduction: {
    claim:
      "Trained afterwards, it beats a random choice by a point at 90 %, and its choice inside layers does not matter: shuffled there it loses less than half a point.",
    testbeds: ["glyphs-lenet5", "mnist-lenet5"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.9],
        epochs: 3,
        arms: {
          SNIP: ({ removed }) => beforeTraining(plan({ sparsity: removed })),
          "SNIP, shuffled in layers": ({ removed }) => [
            { kind: "prune", plan: plan({ sparsity: removed }) },
            { kind: "redraw", places: true },
            { kind: "train" },
          ],
          "random, the same share of layers": ({ removed, seed }) =>
            beforeTraining(sparse({ criterion: random(seed), sparsity: removed })),
        },
        expect: [
          { better: "SNIP", than: "random, the same share of layers", at: [0.9], by: 1 },
          { better: "SNIP, shuffled in layers", than: "SNIP", at: [0.9], by: -0.5 },
        ],
      }),
  },
});
