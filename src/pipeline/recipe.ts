import { isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import * as z from "zod";
import type { IndexedDataset } from "../data/dataset.ts";
import { analyse } from "../models/analysis.ts";
import type { Model } from "../models/model.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import { measurePair } from "./measure.ts";
import { type Pruned, type PruneOptions, prune } from "./prune.ts";
import type { LayerReport, Report } from "./report.ts";
import { planOf, type Settings } from "./settings.ts";

const share = z.number().min(0).max(1);
const numbers = z.union([z.number().transform((n) => [n]), z.array(z.number()).min(1)]);

const stepShape = {
  granularity: z.string().optional(),
  criterion: z.string().optional(),
  recover: z.string().optional(),
  scope: z.enum(["group", "row", "tensor", "global"]).optional(),
  allocation: z.enum(["uniform", "erk", "lamp"]).optional(),
  table: z.record(z.string(), share).optional(),
  "round-to": z.union([z.literal("auto"), z.int().min(1).max(1024)]).optional(),
  sparsity: share.optional(),
  "keep-macs": share.optional(),
  "keep-params": share.optional(),
  "max-bytes": z.int().min(1).optional(),
  "max-latency": z.number().min(0).optional(),
  "keep-latency": share.optional(),
  ignore: z.array(z.string()).optional(),
};

const dataShape = {
  path: z.string(),
  limit: z.int().min(1).optional(),
  scale: z.number().optional(),
  mean: numbers.optional(),
  std: numbers.optional(),
  size: z.int().min(1).optional(),
  layout: z.enum(["nchw", "nhwc"]).optional(),
  labels: z.string().optional(),
};

const dataObject = z.strictObject(dataShape);
const data = z.union([z.string().transform((path): z.infer<typeof dataObject> => ({ path })), dataObject]);

const recipeShape = {
  model: z.string(),
  out: z.string(),
  report: z.string().optional(),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .optional(),
  batch: z.int().min(1).max(4096).optional(),
  device: z.enum(["cpu", "wasm", "webgpu", "cuda"]).optional(),
  threads: z.int().min(1).max(1024).optional(),
  shape: z.record(z.string(), z.array(z.int().min(1)).min(1)).optional(),
  calibration: data.optional(),
  evaluation: data.optional(),
  steps: z.array(z.strictObject(stepShape)).min(1),
};

const recipe = z.strictObject(recipeShape);

/** What a recipe file says, checked. */
export type Recipe = z.infer<typeof recipe>;

/** Keys that are allowed where an unknown one was found. */
function keysAt(path: readonly PropertyKey[]): readonly string[] {
  if (path[0] === "steps") return Object.keys(stepShape);
  if (path[0] === "calibration" || path[0] === "evaluation") return Object.keys(dataShape);
  return Object.keys(recipeShape);
}

/** Reads a recipe. Throws `request` with line and column of the first thing that is wrong. */
export function parseRecipe(text: string, file: string): Recipe {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [broken] = document.errors;
  if (broken !== undefined) {
    const message = `expected YAML, got: ${broken.message.split("\n")[0]}.`;
    throw new EspalierError("request", at(broken.pos[0]), message);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError("request", file, `expected YAML without an excess of aliases, got: ${why}.`, "", { cause });
  }
  const result = recipe.safeParse(value);
  if (result.success) return result.data;
  const issue = deepest(result.error.issues[0]);
  if (issue === undefined) throw new EspalierError("request", file, "expected a recipe.");
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0] ?? "";
    const parent = issue.path.length === 0 ? document.contents : document.getIn(issue.path.map(indexed), true);
    const pair = isMap(parent) ? parent.items.find((item) => isScalar(item.key) && item.key.value === key) : undefined;
    const known = keysAt(issue.path);
    const hint = didYouMean(key, known) || `Known are ${known.join(", ")}.`;
    const place = at((isScalar(pair?.key) ? pair.key.range?.[0] : undefined) ?? 0);
    throw new EspalierError("request", place, `expected a known key, got "${key}".`, hint);
  }
  const name = issue.path.map(String).join(".") || "recipe";
  throw new EspalierError("request", at(offsetOf(document, issue.path)), `${name}: ${sentence(issue, value)}`);
}

type Issue = z.core.$ZodIssue;

/** Of a union, the branch that came furthest. */
function deepest(issue: Issue | undefined): Issue | undefined {
  if (issue?.code !== "invalid_union") return issue;
  const branches = issue.errors.map((issues) => issues[0]).filter((each) => each !== undefined);
  const best = branches.find((each) => each.code === "unrecognized_keys" || each.path.length > 0);
  if (best === undefined) return issue;
  return deepest({ ...best, path: [...issue.path, ...best.path] });
}

const indexed = (key: PropertyKey): string | number => (typeof key === "number" ? key : String(key));

/** Where a value stands; for a missing one, its nearest parent. */
function offsetOf(document: ReturnType<typeof parseDocument>, path: readonly PropertyKey[]): number {
  for (let depth = path.length; depth > 0; depth--) {
    const found = document.getIn(path.slice(0, depth).map(indexed), true);
    if (isPlaced(found)) return found.range?.[0] ?? 0;
  }
  return 0;
}

function isPlaced(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "range" in value && Array.isArray(value.range);
}

function sentence(issue: Issue, root: unknown): string {
  let got: unknown = root;
  for (const key of issue.path) got = typeof got === "object" && got !== null ? Reflect.get(got, key) : undefined;
  const found = got === undefined ? "nothing" : JSON.stringify(got).slice(0, 60);
  switch (issue.code) {
    case "invalid_type":
      return `expected ${issue.expected}, got ${found}.`;
    case "invalid_value":
      return `expected one of ${issue.values.map(String).join(", ")}, got ${found}.`;
    case "too_small":
      return `expected at least ${issue.minimum}, got ${found}.`;
    case "too_big":
      return `expected at most ${issue.maximum}, got ${found}.`;
    default:
      return `expected something else, got ${found}.`;
  }
}

function settingsOf(step: Recipe["steps"][number]): Settings {
  const { "round-to": roundTo, "keep-macs": keepMacs, "keep-params": keepParams, "max-bytes": maxBytes } = step;
  const { "max-latency": maxLatency, "keep-latency": keepLatency } = step;
  const { granularity, criterion, recover, scope, allocation, sparsity, table } = step;
  return {
    granularity,
    criterion,
    recover,
    scope,
    allocation,
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
  return { model: current, report: { ...joined(reports, only), ...measured, advice: [...advice] } };
}

function joined(reports: readonly Report[], first: Report): Report {
  const layers = new Map<string, LayerReport>();
  const seconds = new Map<string, number>();
  let law = first.law;
  for (const report of reports) {
    for (const layer of report.layers) {
      layers.set(layer.name, { ...layer, before: layers.get(layer.name)?.before ?? layer.before });
    }
    for (const [phase, time] of Object.entries(report.seconds)) seconds.set(phase, (seconds.get(phase) ?? 0) + time);
    if (report.law !== null && (law === null || report.law.relative > law.relative)) law = report.law;
  }
  return {
    ...first,
    method: reports.map(({ method }) => method).join(", then "),
    layers: [...layers.values()],
    law,
    seconds: Object.fromEntries(seconds),
  };
}
