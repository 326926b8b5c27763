import { unitAllocationDefaults } from "../allocation/units.ts";
import { paper } from "../claims/paper.ts";
import { fraction, oneOf, parameterShareOf, without } from "../claims/plan-options.ts";
import { fluctuation } from "../criteria/inputs/fluctuation.ts";
import { inputNorm } from "../criteria/inputs/input-norm.ts";
import { product } from "../criteria/product.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { structured } from "../plans/methods.ts";
import { biasCompensation } from "../recovery/bias.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";

/** Removes heads and neurons whose outputs fluctuate least around their means, which biases take over. */
export const flap = paper({
  id: "flap",
  summary: "Heads and neurons by the fluctuation of what they give; biases take over their means.",
  cite: {
    title: "Fluctuation-based Adaptive Structured Pruning for Large Language Models",
    year: 2023,
    arxiv: "2312.11983",
    equation: "the metric WIFV with the structure AL-AM",
  },
  code: "github:CASIA-LMC-Lab/FLAP",
  golden:
    "None yet: its models are language models of billions; that a constant channel costs nothing is tested instead.",
  departures: [
    "Variances are those of all tokens together; the original averages windows, whose first adds nothing.",
    "The unit of an attention is a key head with its queries; what its channels score is not squared, as it is in the original's code.",
    "The cost of a unit is what its removal saves of the whole model, counted.",
    "A group is never emptied.",
  ],
  record: {
    removes: ["channel", "head"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["activation", "magnitude"],
    learn: ["none"],
    fusion: ["none"],
    data: ["unlabelled"],
    supervision: ["self"],
    scope: ["local", "global"],
    iterations: ["one-shot"],
    recovery: ["none", "layer-wise"],
    models: ["mlp", "cnn", "vit", "encoder", "llm"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.2, "Share to remove."),
    of: parameterShareOf,
    structure: oneOf(
      ["adaptive", "uniform"],
      "One threshold for all standardised scores, or the same share of each group.",
    ),
    bias: oneOf(["means", "none"], "Whether biases take over what removed units give on average."),
  },
  plan: ({ sparsity, of, structure, bias }) => ({
    kind: "units",
    units: "inner",
    criterion: fluctuation(),
    scores: { members: "input", reduce: "sum", normalise: "standardise" },
    target: without(sparsity, of),
    allocation: { ...unitAllocationDefaults, scope: structure === "adaptive" ? "global" : "group" },
    recovery: bias === "means" ? [biasCompensation()] : [],
  }),
  reproduction: {
    claim:
      "Biases that take over means lower the loss at every share; fluctuation beats the norm of inputs and magnitude; one threshold is not worse than equal shares.",
    testbeds: languageTestbeds,
    run: (bench, plan) =>
      bench.compare({
        budget: "params",
        by: "loss",
        among: { units: "inner" },
        removed: [0.2, 0.4],
        calibration: 64,
        arms: {
          FLAP: { plan: ({ removed }) => plan({ sparsity: removed }) },
          "FLAP without biases": { plan: ({ removed }) => plan({ sparsity: removed, bias: "none" }) },
          "FLAP, equal shares": { plan: ({ removed }) => plan({ sparsity: removed, structure: "uniform" }) },
          "Wanda of units, equal shares": {
            plan: ({ removed }) => ({
              ...structured({ keepParams: 1 - removed, criterion: product(magnitude(1), inputNorm()) }),
              units: "inner",
              scores: { members: "input", reduce: "sum", normalise: "none" },
            }),
          },
          "magnitude, equal shares": {
            plan: ({ removed }) => ({ ...structured({ keepParams: 1 - removed }), units: "inner" }),
          },
        },
        expect: [
          { better: "FLAP", than: "FLAP without biases", at: [0.2, 0.4], by: 0 },
          { better: "FLAP", than: "Wanda of units, equal shares", at: [0.2, 0.4], by: 0 },
          { better: "FLAP", than: "magnitude, equal shares", at: [0.2, 0.4], by: 0 },
          { better: "FLAP", than: "FLAP, equal shares", at: [0.2, 0.4], by: -0.02 },
          { better: "FLAP", than: "random", at: [0.2, 0.4], by: 0 },
        ],
      }),
  },
});
