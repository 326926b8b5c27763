import { unitAllocationDefaults } from "../allocation/units.ts";
import { paper } from "../claims/paper.ts";
import { fraction, oneOf, whole, without } from "../claims/plan-options.ts";
import { inputNorm } from "../criteria/inputs/input-norm.ts";
import { product } from "../criteria/product.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { relativeSize } from "../criteria/weights/relative-size.ts";
import { structured } from "../plans/methods.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";
import { flap } from "./flap.ts";

const scores = { activation: inputNorm(), relative: product(relativeSize(), inputNorm()) } as const;
const coarse = { influence: { distance: "angle", strength: 1 }, uniform: null } as const;

/** Removes the neurons that fire least, more of them in blocks that turn what passes them less. */
export const cfsp = paper({
  id: "cfsp",
  summary: "Neurons of MLPs by how strongly they fire, fewer where a block turns more.",
  cite: {
    title: "CFSP: An Efficient Structured Pruning Framework for LLMs with Coarse-to-Fine Activation Information",
    year: 2024,
    arxiv: "2409.13199",
    equation: "section 3",
  },
  code: "github:wyxscir/CFSP",
  golden:
    "None yet: its models are language models of billions; shares of blocks are tested against its formula by hand.",
  departures: [
    "The released score divides each weight vector by its own sum, so that nothing is left of weights: it is the norm of activations, which is the default here.",
    "The score relative is this project's: weights as shares of all neurons at the same output, times that norm.",
    "The scale of importances is that of 128 windows of 1024 tokens, converted to means.",
    "LoRA with ranks by importance is left out.",
  ],
  record: {
    removes: ["channel"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["activation"],
    learn: ["none"],
    fusion: ["none"],
    data: ["unlabelled"],
    supervision: ["none"],
    scope: ["local", "allocated"],
    iterations: ["one-shot"],
    recovery: ["none"],
    models: ["llm"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: false,
  },
  options: {
    sparsity: fraction(0.2, "Share to remove."),
    of: oneOf(["units", "params", "macs"], "What `sparsity` is a share of."),
    score: oneOf(
      ["activation", "relative"],
      "How strongly a neuron fires, or that times its share of the weights behind it.",
    ),
    coarse: oneOf(["influence", "uniform"], "Whether blocks that turn more keep more."),
    step: whole(1, "Widths are multiples of this where there are as many.", 1, 4096),
  },
  plan: ({ sparsity, of, score, coarse: by, step }) => ({
    kind: "units",
    units: "neurons",
    criterion: scores[score],
    scores: { members: "input", reduce: "sum", normalise: "none" },
    target: without(sparsity, of),
    ...(coarse[by] === null ? {} : { coarse: coarse[by] }),
    allocation: { ...unitAllocationDefaults, roundTo: step },
    recovery: [],
  }),
  reproduction: {
    claim:
      "Neurons that fire least cost less than those of small weights; shares by how much blocks turn what passes them cost less than equal ones.",
    testbeds: languageTestbeds,
    run: (bench, plan) =>
      bench.compare({
        budget: "params",
        by: "loss",
        among: { units: "neurons" },
        removed: [0.1, 0.2, 0.3],
        calibration: 64,
        arms: {
          CFSP: { plan: ({ removed }) => plan({ sparsity: removed, of: "params" }) },
          "CFSP, equal shares": { plan: ({ removed }) => plan({ sparsity: removed, of: "params", coarse: "uniform" }) },
          "CFSP, relative": { plan: ({ removed }) => plan({ sparsity: removed, of: "params", score: "relative" }) },
          "Wanda of units, equal shares": {
            plan: ({ removed }) => ({
              ...structured({ keepParams: 1 - removed, criterion: product(magnitude(1), inputNorm()) }),
              units: "neurons",
              scores: { members: "input", reduce: "sum", normalise: "none" },
            }),
          },
          "FLAP of neurons": {
            plan: ({ removed }) => ({ ...flap.plan({ sparsity: removed }), units: "neurons" }),
          },
          "magnitude, equal shares": {
            plan: ({ removed }) => ({ ...structured({ keepParams: 1 - removed }), units: "neurons" }),
          },
        },
        expect: [
          { better: "CFSP", than: "magnitude, equal shares", at: [0.1, 0.2, 0.3], by: 0 },
          { better: "CFSP", than: "CFSP, equal shares", at: [0.2, 0.3], by: 0 },
          { better: "CFSP", than: "CFSP, relative", at: [0.1, 0.2, 0.3], by: -0.05 },
          { better: "CFSP", than: "random", at: [0.1, 0.2, 0.3], by: 0 },
        ],
      }),
  },
});
