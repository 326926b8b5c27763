import { paper } from "../claims/paper.ts";
import { fraction, oneOf, without } from "../claims/plan-options.ts";
import { dense } from "../claims/reproduction.ts";
import { layers } from "../plans/methods.ts";
import type { Recovery } from "../recovery/recovery.ts";
import { type SelfTaughtOptions, selfTaught } from "../recovery/self-taught.ts";
import { languageTestbeds } from "../testbeds/language-testbeds.ts";

const training = {
  only: ["norms", "biases"],
  lora: { rank: 16, alpha: 32 },
  settings: { length: { updates: 60 }, batchSize: 16, rate: 1e-3 },
} as const;
const behind = (options: SelfTaughtOptions): readonly Recovery[] => [
  selfTaught({ perWindow: 2, ...options, training: { ...training, ...options.training } }),
];

const repairs = {
  none: [],
  own: behind({ answers: "own" }),
  text: behind({ answers: "text" }),
  distilled: behind({ answers: "own", training: { labels: 0, answers: 1 } }),
} as const;
const influences = {
  influence: { id: "influence" },
  angle: { id: "influence", distance: "angle", tokens: "last" },
  error: { id: "error" },
} as const;

/** Drops whole blocks, and trains what is left on answers that the original gives itself. */
export const layerPruningLimits = paper({
  id: "layer-pruning-limits",
  summary: "Whole blocks, then low-rank updates on answers of the original itself.",
  cite: {
    title: "On the Limits of Layer Pruning for Generative Reasoning in LLMs",
    year: 2026,
    arxiv: null,
    equation: "self-generated responses",
  },
  code: null,
  golden: "None: no code is public, and of the paper only the abstract was at hand; constants are our own.",
  departures: [
    "Prompts are beginnings of passages of the calibration text, answers of a fixed length; none is left out.",
    "Tasks of reasoning are replaced by the original's own most likely continuations of test passages: to write one word for word is generation, to find it likelier than three others that the original drew is choice.",
    "Blocks are scored at once; dropping one after the other with new scores is left out.",
  ],
  record: {
    removes: ["layer"],
    speedup: ["structured"],
    when: ["after"],
    criterion: ["similarity", "activation", "loss change"],
    learn: ["none"],
    fusion: ["distillation"],
    data: ["unlabelled"],
    supervision: ["self"],
    scope: ["global"],
    iterations: ["one-shot"],
    recovery: ["none", "fine-tuning"],
    models: ["llm"],
    guarantee: ["heuristic"],
    gradients: false,
    weightUpdate: true,
  },
  options: {
    sparsity: fraction(0.2, "Share to remove."),
    of: oneOf(["units", "params", "macs"], "What `sparsity` is a share of; units are blocks."),
    score: oneOf(
      ["influence", "angle", "error"],
      "How little a block turns what passes it, the angle at the last token alone, or what dropping it alone costs.",
    ),
    repair: oneOf(
      ["none", "own", "text", "distilled"],
      "Trained on what: nothing, the original's own answers, what stands in the text, or the original's probabilities of its own answers.",
    ),
  },
  plan: ({ sparsity, of, score, repair }) => ({
    kind: "branches",
    criterion: influences[score],
    span: 2,
    target: without(sparsity, of),
    means: false,
    recovery: repairs[repair],
  }),
  reproduction: {
    claim:
      "Choosing among continuations survives the loss of blocks far better than writing them; own answers repair more than text at equal steps; at many blocks writing stays lost.",
    testbeds: languageTestbeds,
    run: (bench, plan) =>
      bench.compare({
        budget: "params",
        by: "loss",
        further: ["written", "chosen"],
        among: { units: "inner" },
        removed: [0.17, 0.35, 0.52],
        calibration: 32,
        arms: {
          influence: { plan: ({ removed }) => plan({ sparsity: removed, of: "params" }) },
          "angle at the last token": {
            plan: ({ removed }) => plan({ sparsity: removed, of: "params", score: "angle" }),
          },
          "error of each block": { plan: ({ removed }) => plan({ sparsity: removed, of: "params", score: "error" }) },
          "random blocks": {
            plan: ({ removed }) => ({ ...layers({ criterion: "random", keepParams: 1 - removed }), span: 2 }),
          },
          "influence, then own answers": {
            plan: ({ removed }) => plan({ sparsity: removed, of: "params", repair: "own" }),
          },
          "influence, then text": { plan: ({ removed }) => plan({ sparsity: removed, of: "params", repair: "text" }) },
          "influence, then distilled": {
            plan: ({ removed }) => plan({ sparsity: removed, of: "params", repair: "distilled" }),
          },
        },
        expect: [
          {
            better: "influence",
            than: "influence",
            at: [0.17, 0.35, 0.52],
            by: 10,
            in: { better: "chosen", than: "written" },
          },
          { better: "influence, then own answers", than: "influence", at: [0.17, 0.35, 0.52], by: 0, in: "written" },
          { better: "influence, then own answers", than: "influence, then text", at: [0.17], by: 10, in: "written" },
          { better: dense, than: "influence, then own answers", at: [0.52], by: 30, in: "written" },
          { better: "influence, then own answers", than: dense, at: [0.52], by: -15, in: "chosen" },
          { better: "influence", than: "random blocks", at: [0.17, 0.35, 0.52], by: 0 },
        ],
      }),
  },
});
