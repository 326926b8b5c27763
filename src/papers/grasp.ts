import { paper } from "../claims/paper.ts";
import { fraction, whole } from "../claims/plan-options.ts";
import { beforeTraining } from "../claims/reproduction.ts";
import { grasp as gradientFlow } from "../criteria/gradients/curvature.ts";
import { snip } from "../criteria/gradients/taylor.ts";
import { random } from "../criteria/weights/random.ts";
import { sparse } from "../plans/methods.ts";

/** Keeps the weights without which the gradient would be smaller, before the network is trained. */
export const grasp = paper({
  id: "grasp",
  summary: "Weights of least w · Hg go before training, so that gradients keep flowing.",
  cite: {
    title: "Picking Winning Tickets Before Training by Preserving Gradient Flow",
    year: 2020,
    arxiv: "2002.07376",
    equation: "Eq. 8 and Algorithm 1",
  },
  code: "github:alecwangcq/GraSP",
  golden:
    "None: scores follow from a batch of the authors' own sampler; products with the Hessian are tested against differences.",
  departures: [
    "512 labelled inputs drawn by chance are looked at, in place of ten or more of each class.",
    "Gradient and product with the Hessian come from the same inputs instead of two halves.",
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
    models: ["mlp", "cnn"],
    guarantee: ["heuristic"],
    gradients: true,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.9, "Share of all weights to remove."),
    rounds: whole(1, "Steps, each by the gradient flow of what is left.", 1, 300),
  },
  plan: ({ sparsity, rounds }) => sparse({ criterion: gradientFlow(), scope: "global", sparsity, rounds }),
  reproduction: {
    claim:
      "Trained afterwards, it beats a random choice by a point at 90 %, and SNIP at 98 %, where preserving gradients matters most.",
    testbeds: ["glyphs-lenet5", "mnist-lenet5"],
    run: (bench, plan) =>
      bench.train({
        removed: [0.9, 0.98],
        epochs: 3,
        arms: {
          GraSP: ({ removed }) => beforeTraining(plan({ sparsity: removed })),
          SNIP: ({ removed }) => beforeTraining(sparse({ criterion: snip(), scope: "global", sparsity: removed })),
          "random, the same share of layers": ({ removed, seed }) =>
            beforeTraining(sparse({ criterion: random(seed), sparsity: removed })),
        },
        expect: [
          { better: "GraSP", than: "random, the same share of layers", at: [0.9], by: 1 },
          { better: "GraSP", than: "SNIP", at: [0.98], by: 0 },
        ],
      }),
  },
});
