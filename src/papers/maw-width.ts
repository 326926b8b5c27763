import { unitAllocationDefaults } from "../allocation/units.ts";
import { paper } from "../claims/paper.ts";
import { fraction, oneOf, without } from "../claims/plan-options.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { rowRange } from "../criteria/weights/row-range.ts";
import { structured } from "../plans/methods.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";
import { flap } from "./flap.ts";

/** Removes the neurons of MLPs whose rows have the smallest range of weights, the same share in each layer, without data. */
export const mawWidth = paper({
  id: "maw-width",
  summary: "Neurons of MLPs by the range of their weights, without data.",
  cite: {
    title: "Fragile Knowledge, Robust Instruction-Following: The Width Pruning Dichotomy in Llama-3.2",
    year: 2025,
    arxiv: null,
    equation: "the score MAW",
  },
  code: "github:peremartra/llama-glu-expansion-pruning",
  golden: "None yet: its models are language models of billions; the score is tested against its definition.",
  departures: [
    "Gate and up count alike, as there; in other networks the rows of every matrix that makes the unit count.",
    "The share of a layer is rounded to the nearest unit, not down.",
    "What knowledge and obedience lose apart is not measured: models of this size have neither.",
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
    models: ["mlp", "cnn", "vit", "encoder", "llm"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.2, "Share to remove."),
    of: oneOf(["units", "params", "macs"], "What `sparsity` is a share of."),
  },
  plan: ({ sparsity, of }) => ({
    kind: "units",
    units: "neurons",
    criterion: rowRange(),
    scores: { members: "output", reduce: "sum", normalise: "none" },
    target: without(sparsity, of),
    allocation: unitAllocationDefaults,
    recovery: [],
  }),
  reproduction: {
    claim: "The range of a neuron's weights is a better score than their L2 norm and than chance; inputs tell more.",
    testbeds: languageTestbeds,
    run: (bench, plan) =>
      bench.compare({
        budget: "params",
        by: "loss",
        among: { units: "neurons" },
        removed: [0.1, 0.2, 0.4],
        calibration: 64,
        arms: {
          range: { plan: ({ removed }) => plan({ sparsity: removed, of: "params" }) },
          L2: {
            plan: ({ removed }) => ({
              ...structured({ keepParams: 1 - removed, criterion: magnitude(2) }),
              units: "neurons",
              scores: { members: "output", reduce: "sum", normalise: "none" },
            }),
          },
          "fluctuation, without biases": {
            plan: ({ removed }) => ({
              ...flap.plan({ sparsity: removed, structure: "uniform", bias: "none" }),
              units: "neurons",
            }),
          },
        },
        expect: [
          { better: "range", than: "L2", at: [0.1, 0.2, 0.4], by: 0 },
          { better: "range", than: "random", at: [0.1, 0.2, 0.4], by: 0 },
          { better: "fluctuation, without biases", than: "range", at: [0.1, 0.2, 0.4], by: 0 },
        ],
      }),
  },
});
