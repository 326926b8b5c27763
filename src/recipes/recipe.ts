import * as z from "zod";
import type { IndexedDataset } from "../data/dataset.ts";
import { analyse } from "../models/analysis.ts";
import { loaderNames } from "../models/loaders/table.ts";
import type { Model } from "../models/model.ts";
import { joinParts } from "../pipeline/measuring/join-parts.ts";
import { measurePair } from "../pipeline/measuring/measure.ts";
import type { Report } from "../pipeline/measuring/report.ts";
import { type Pruned, type PruneOptions, prune } from "../pipeline/prune.ts";
import { learningShape } from "../plans/learning.ts";
import { planOf, type Settings } from "../plans/settings.ts";
import { EspalierError } from "../tensor/error.ts";
import { byteCount } from "./byte-count.ts";
import { data, dataShape, jobShape, type Part, parseYaml, textAs } from "./recipe-file.ts";

const share = z.number().min(0).max(1);

export const stepShape = {
  granularity: z.string().optional(),
  criterion: z.string().optional(),
  recover: z.string().optional(),
  scope: z.enum(["group", "row", "tensor", "global"]).optional(),
  allocation: z.enum(["uniform", "erk", "lamp"]).optional(),
  rounds: z.int().min(1).max(1000).optional(),
  order: z.enum(["given", "activation"]).optional(),
  table: z.record(z.string(), share).optional(),
  "round-to": z.union([z.literal("auto"), z.int().min(1).max(1024)]).optional(),
  sparsity: share.optional(),
  "keep-macs": share.optional(),
  "keep-params": share.optional(),
  "max-bytes": z.int().min(1).optional(),
  "max-latency": z.number().min(0).optional(),
  "keep-latency": share.optional(),
  ignore: z.array(z.string()).optional(),
  train: z.strictObject(learningShape).optional(),
};

const loader = textAs((text) => loaderNames.find((name) => name === text) ?? null, `one of ${loaderNames.join(", ")}`);

/** What only checkpoints have. */
const checkpointShape = {
  windows: z.int().min(1).max(1e9).optional(),
  inputs: z.enum(["pruned", "dense"]).optional(),
  memory: z.union([textAs(byteCount, "a size such as 500MB or 3GB"), z.int().min(1)]).optional(),
};

export const recipeShape = {
  ...jobShape,
  ...checkpointShape,
  batch: z.int().min(1).max(4096).optional(),
  target: z.union([loader.transform((name) => [name]), z.array(loader).min(1)]).optional(),
  shape: z.record(z.string(), z.array(z.int().min(1)).min(1)).optional(),
  calibration: data.optional(),
  general: data.optional(),
  training: data.optional(),
  evaluation: data.optional(),
  steps: z.array(z.strictObject(stepShape)).min(1),
};

const recipe = z.strictObject(recipeShape);

/** What a recipe file says, checked. */
export type Recipe = z.infer<typeof recipe>;

const parts: readonly Part[] = [
  { name: "train in a step", keys: Object.keys(learningShape), holds: (path) => path.includes("train") },
  { name: "a step", keys: Object.keys(stepShape), holds: ([first]) => first === "steps" },
  {
    name: "calibration, general, training and evaluation",
    keys: Object.keys(dataShape),
    holds: ([first]) => ["calibration", "general", "evaluation", "training"].some((name) => name === first),
  },
  { name: "the recipe itself", keys: Object.keys(recipeShape), holds: () => true },
];

/** Reads a recipe. Throws `request` with line and column of the first thing that is wrong. */
export function parseRecipe(text: string, file: string): Recipe {
  return parseYaml(text, file, recipe, parts);
}

/** What a step says, as plans are made of it. */
export function settingsOf(step: Recipe["steps"][number]): Settings {
  const { "round-to": roundTo, "keep-macs": keepMacs, "keep-params": keepParams, "max-bytes": maxBytes } = step;
  const { "max-latency": maxLatency, "keep-latency": keepLatency } = step;
  const { granularity, criterion, recover, train: learning, scope, allocation, rounds, order, sparsity, table } = step;
  return {
    granularity,
    criterion,
    recover,
    learning,
    scope,
    allocation,
    rounds,
    order,
    table: table === undefined ? undefined : new Map(Object.entries(table)),
    sparsity,
    roundTo,
    keepMacs,
    keepParams,
    maxBytes,
    maxLatency,
    keepLatency,
  };
}

/** Runs the steps one after the other; the report compares the last model with the first. */
export async function runRecipe(
  model: Model,
  { steps, seed = 0 }: Recipe,
  options: PruneOptions & { readonly calibration: IndexedDataset | null },
): Promise<Pick<Pruned, "model" | "report">> {
  const plans = steps.map((step) => ({ plan: planOf(settingsOf(step), seed), ignore: step.ignore ?? [] }));
  let current = model;
  let origin: PruneOptions["origin"];
  const reports: Report[] = [];
  for (const { plan, ignore } of plans) {
    const whole = plans.length === 1;
    const result = await prune(current, plan, {
      ...options,
      ignore,
      seed,
      ...(origin === undefined ? {} : { origin }),
      ...(whole ? {} : { measure: false, evaluation: null }),
    });
    ({ model: current, origin } = result);
    reports.push(result.report);
  }
  const [only, ...more] = reports;
  if (only === undefined) throw new EspalierError("request", "steps", "expected at least one step, got none.");
  if (more.length === 0) return { model: current, report: only };
  const analysis = await analyse(
    model.onnx.graph,
    options.runtime,
    options.shapes === undefined ? {} : { shapes: options.shapes },
  );
  const settings = { ...options, seed, batchSize: options.batchSize ?? 64 };
  const { advice, ...measured } = await measurePair(model, analysis, current, settings);
  return { model: current, report: { ...only, ...joinParts(reports), ...measured, advice: [...advice] } };
}
