import * as z from "zod";
import { jitter } from "../data/changes/jitter.ts";
import { mix as mixed } from "../data/changes/mix.ts";
import type { Part, RetrainOptions } from "../recovery/retrain.ts";
import { EspalierError } from "../tensor/error.ts";
import { adam, adamW } from "../train/optimisers/adam.ts";
import { lars } from "../train/optimisers/lars.ts";
import { lion } from "../train/optimisers/lion.ts";
import type { Optimiser } from "../train/optimisers/optimiser.ts";
import { sgd } from "../train/optimisers/sgd.ts";
import { constantRate, cosineRate, linearRate, type RateSchedule, warmedUp } from "../train/rates.ts";
import type { Augment } from "../train/train.ts";
import type { Length, TrainingSettings } from "../train/train-graph.ts";
import { matcher } from "./ignore.ts";

/**
 * Optimisers by the name that recipes use: how each is made at a decay, a rate that suits it, and one that suits weights
 * that are trained already, which a larger one would first spoil.
 */
const optimisers = {
  adamw: { make: ({ decay }) => adamW({ decay }), rate: 1e-3, again: 4e-4 },
  adam: { make: ({ decay }) => adam({ decay, decoupled: false }), rate: 1e-3, again: 4e-4 },
  sgd: { make: ({ decay, momentum }) => sgd({ decay, momentum, nesterov: momentum > 0 }), rate: 0.02, again: 2e-3 },
  lion: { make: ({ decay }) => lion({ decay }), rate: 1e-4, again: 3e-5 },
  lars: { make: ({ decay, momentum }) => lars({ decay, momentum }), rate: 0.5, again: 0.05 },
} as const satisfies Readonly<
  Record<string, { readonly make: (o: OptimiserNumbers) => Optimiser; readonly rate: number; readonly again: number }>
>;

interface OptimiserNumbers {
  readonly decay: number;
  readonly momentum: number;
}

export type OptimiserName = keyof typeof optimisers;
export const optimiserNames = ["adamw", "adam", "sgd", "lion", "lars"] as const satisfies readonly OptimiserName[];

const scheduleNames = ["cosine", "linear", "constant"] as const;
const schedules: Readonly<Record<(typeof scheduleNames)[number], RateSchedule>> = {
  cosine: cosineRate(),
  linear: linearRate(),
  constant: constantRate,
};

const partNames = ["norms", "biases", "head", "matrices", "tables"] as const satisfies readonly Part[];

const share = z.number().min(0).max(1);
const positive = z.number().gt(0);

/** How to train, in the words of recipes. */
export const learningShape = {
  epochs: positive.optional(),
  updates: z.int().min(1).optional(),
  minutes: positive.optional(),
  batch: z.int().min(1).max(65536).optional(),
  "run-batch": z.int().min(1).max(65536).optional(),
  optimiser: z.enum(optimiserNames).optional(),
  rate: positive.optional(),
  momentum: share.optional(),
  decay: z.number().min(0).optional(),
  schedule: z.enum(scheduleNames).optional(),
  norms: z.enum(["batch", "running"]).optional(),
  "warm-up": share.optional(),
  clip: positive.optional(),
  average: share.optional(),
  pad: z.int().min(0).max(1024).optional(),
  flip: z.boolean().optional(),
  mix: share.optional(),
  freeze: z.array(z.string()).optional(),
  only: z.array(z.enum(partNames)).min(1).optional(),
  temperature: positive.optional(),
  features: z.number().min(0).optional(),
  answers: z.number().min(0).optional(),
};

const learning = z.strictObject(learningShape);

/** How to train, as a user decides it; what is absent has a default. */
export type Learning = z.infer<typeof learning>;

/** How long, in what steps and with what changes to the data. Throws `request` where more than one length is given. */
export function trainingSettings(given: Learning): Partial<TrainingSettings> {
  const { optimiser: name = "adamw", momentum = 0.9, decay = 0, schedule = "cosine", "warm-up": warm = 0.05 } = given;
  const { make, rate } = optimisers[name];
  const { batch, "run-batch": runSize, clip, average } = given;
  const length = lengthOf(given);
  const shape = schedules[schedule];
  const augment = augmentOf(given);
  return {
    ...(length === null ? {} : { length }),
    ...(batch === undefined ? {} : { batchSize: batch }),
    ...(runSize === undefined ? {} : { runSize }),
    ...(clip === undefined ? {} : { clip }),
    ...(average === undefined ? {} : { average }),
    ...(given.norms === undefined ? {} : { norms: given.norms }),
    ...(augment === null ? {} : { augment }),
    optimiser: (own) => make({ decay: own, momentum }),
    rate: given.rate ?? rate,
    decay,
    schedule: warm > 0 ? warmedUp(warm, shape) : shape,
  };
}

/** Pictures move first and are laid over each other then. */
function augmentOf({ pad = 0, flip = false, mix = 0 }: Learning): Augment | null {
  const moves = pad > 0 || flip ? jitter({ pad, flip, fill: "mirror" }) : null;
  if (mix === 0) return moves;
  const overlay = mixed(mix);
  return moves === null ? overlay : (batch, draw) => overlay(moves(batch, draw), draw);
}

/** The same for a training on labels. Throws `request` where inputs are to be mixed, whose labels would be wrong. */
export function forLabels(given: Learning): Learning {
  if ((given.mix ?? 0) === 0) return given;
  const message = `expected inputs as they are beside labels, got ${given.mix} of another in each.`;
  throw new EspalierError("request", "mix", message, "Mix inputs where a teacher answers for them: distill.");
}

function lengthOf({ epochs, updates, minutes }: Learning): Length | null {
  const given = Object.entries({ epochs, updates, minutes }).filter(([, value]) => value !== undefined);
  if (given.length > 1) {
    const got = given.map(([name]) => name).join(" and ");
    throw new EspalierError("request", "length of training", `expected epochs, updates or minutes, got ${got}.`);
  }
  if (epochs !== undefined) return { epochs };
  if (updates !== undefined) return { updates };
  return minutes === undefined ? null : { minutes };
}

/** The same for a recovery: what it learns from, and which parameters stay. */
export function retrainOptions(given: Learning): Partial<RetrainOptions> {
  const { freeze = [], only, temperature, features, answers } = given;
  return {
    settings: { ...trainingSettings(given), rate: given.rate ?? optimisers[given.optimiser ?? "adamw"].again },
    ...(freeze.length === 0 ? {} : { frozen: matcher(freeze, "--freeze") }),
    ...(only === undefined ? {} : { only }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(features === undefined ? {} : { features }),
    ...(answers === undefined ? {} : { answers }),
  };
}
