import { paper } from "../claims/paper.ts";
import { fraction } from "../claims/plan-options.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { layered } from "../plans/layered.ts";

/** Removes the weights below one magnitude for the whole model, a floor of weights kept in each layer. */
export const globalMp = paper({
  id: "global-mp",
  summary: "One magnitude threshold for all layers, with a least number of weights in each.",
  cite: {
    title: "Is Complexity Required for Neural Network Pruning? A Case Study on Global Magnitude Pruning",
    year: 2022,
    arxiv: "2209.14624",
    equation: "Section 3",
  },
  code: "github:manasgupta-1/GlobalMP",
  golden: "None: its pooled vector starts with an uninitialised element, which moves the threshold.",
  departures: [
    "Counts are exact by rank; of equal magnitudes those with the lower index go first.",
    "The floor protects the largest weights of each layer before the ranking, in place of rescaling in a loop that may not end.",
    "Masked fine-tuning is left out: it trains. The gradual form is global-mp-gradual.",
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
    scope: ["global"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["mlp", "cnn", "recurrent"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.5, "Share of all weights to remove."),
    floor: fraction(
      0,
      "Share of the weights of the whole model that each layer keeps at least; the paper uses 0.0005.",
    ),
  },
  plan: ({ sparsity, floor }) => ({
    kind: "weights",
    criterion: magnitude(1),
    pattern: { kind: "element" },
    scope: "global",
    profile: "uniform",
    sparsity,
    floor,
    recovery: [],
  }),
  reproduction: {
    claim: "One threshold for all layers beats the same share of every layer, and loses nothing against LAMP.",
    testbeds: ["cifar-resnet20", "glyphs"],
    run: (bench, plan) =>
      bench.compare({
        budget: "weights",
        removed: [0.5, 0.6, 0.7, 0.8],
        arms: {
          "Global MP": { plan: ({ removed }) => plan({ sparsity: removed }) },
          "Global MP, floor": { plan: ({ removed }) => plan({ sparsity: removed, floor: 0.0005 }) },
          "uniform magnitude": { plan: ({ removed }) => layered(removed, "uniform") },
          "ERK magnitude": { plan: ({ removed }) => layered(removed, "erk") },
          LAMP: { plan: ({ removed }) => layered(removed, "lamp") },
        },
        expect: [
          { better: "Global MP", than: "uniform magnitude", at: [0.5, 0.6, 0.7, 0.8], by: 1 },
          { better: "Global MP", than: "LAMP", at: [0.5, 0.6, 0.7, 0.8], by: -0.5 },
        ],
      }),
  },
});
