import { mkdtemp, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import * as z from "zod";
import type { Dataset, IndexedDataset } from "../../data/dataset.ts";
import { openCheckpointFolder } from "../../formats/checkpoint/open.node.ts";
import { modelOf } from "../../formats/onnx/encode.ts";
import { refuseOccupied, syncFolder, writeWhole } from "../../formats/whole-files.node.ts";
import { analyse } from "../../models/analysis.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { loadSizes } from "../../models/loaders/sizes.ts";
import type { LoaderName } from "../../models/loaders/table.ts";
import { willLoad } from "../../models/loaders/will-load.ts";
import { type Model, modelFrom } from "../../models/model.ts";
import { joinParts } from "../../pipeline/measuring/join-parts.ts";
import { measurePair } from "../../pipeline/measuring/measure.ts";
import { phaseClock } from "../../pipeline/measuring/phase-clock.ts";
import type { Report } from "../../pipeline/measuring/report.ts";
import type { CheckpointPlan } from "../../plans/checkpoint-plan.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import { type Job, step as tell } from "../../tensor/progress.ts";
import { load, type TensorRef } from "../../tensor/tensor.ts";
import { type CheckpointReport, type CheckpointRun, type StagedLayer, sizesOf } from "../report.ts";
import { cardOfStages, cardOfUnits, type Making } from "./card.ts";
import { checkpointPrint, planText } from "./fingerprint.ts";
import { hasJournal, openWorkJournal } from "./journal.node.ts";
import { pruneFolder } from "./prune-folder.node.ts";
import { pruneFolderParts } from "./prune-folder-parts.node.ts";
import { pruneFolderTokens, type TokenTexts } from "./prune-folder-tokens.node.ts";
import { pruneFolderUnits, shapesOf } from "./prune-folder-units.node.ts";
import { joinPartsLeft, recordOf, recordSchema, type StepRecord } from "./step-record.ts";

/** One pruning of several. */
export interface FolderStep {
  readonly plan: CheckpointPlan;
  /** Parameters that it leaves alone. */
  readonly ignore: readonly string[];
}

export interface FolderStepsOptions extends Job, Making {
  readonly runtime: Runtime;
  readonly calibration: IndexedDataset | null;
  readonly general?: IndexedDataset | null;
  readonly training?: IndexedDataset | null;
  readonly evaluation?: IndexedDataset | null;
  /** Of a step that removes tokens, in the place of windows of tokens. */
  readonly texts?: TokenTexts | null;
  /** Windows that run at once. */
  readonly batchSize: number;
  readonly seed?: number;
  readonly loaders?: readonly LoaderName[];
  /** Of single weights, like `memory`. */
  readonly inputs?: "pruned" | "dense";
  readonly memory?: number;
  readonly resume?: boolean;
  /** Leave out the latency measurement of graphs that lost units. */
  readonly measure?: boolean;
  /** Name of the command, for the report. */
  readonly command?: string;
}

/**
 * Prunes a checkpoint into a folder in steps, each of what the last has left. Of several, each writes a checkpoint of its own into
 * a folder of work beside the result, and is noted in a journal there when it is finished, so that a run that was killed goes on
 * with `resume` to the same bytes. What is told compares the last checkpoint with the first. Where `out` is null, nothing stays.
 */
export async function pruneFolderSteps(
  model: CheckpointModel,
  out: string | null,
  steps: readonly FolderStep[],
  options: FolderStepsOptions,
): Promise<CheckpointRun> {
  const [only, ...more] = steps;
  if (only !== undefined && more.length === 0) return one(model, out, only, options);
  const target = out === null ? null : resolve(out);
  const beside = target === null ? null : join(dirname(target), `.${basename(target)}.espalier`);
  const place = beside ?? (await mkdtemp(join(tmpdir(), "espalier-")));
  if (out !== null && !(await hasJournal(place))) await refuseOccupied(out);
  const request = await requestOf(model, steps, options);
  const { resume = false } = options;
  const journal = await openWorkJournal(place, request, stepLine, { resume, expected: "a finished step" });
  try {
    const records = journal.lines.flatMap((line) => ("record" in line ? [line.record] : []));
    const folderOf = (number: number): string => join(place, `step-${number}`);
    const at = async (number: number): Promise<CheckpointModel> => named(model, folderOf(number));
    const { recipe, evaluation = null, ...rest } = options;
    const areStreamed = steps.every(({ plan }) => plan.kind !== "units");
    for (const [i, each] of steps.entries()) {
      if (i < records.length) continue;
      const current = i === 0 ? model : await at(i - 1);
      // What a killed run wrote and did not note is made again.
      if (!(await hasJournal(join(place, `.step-${i}.espalier`))))
        await rm(folderOf(i), { recursive: true, force: true });
      const isLast = areStreamed && i === steps.length - 1;
      const judged = isLast ? { evaluation, original: model } : {};
      const done = await one(current, folderOf(i), each, { ...rest, ...judged, resume: true, isPart: true });
      const record = recordOf(current, done);
      await journal.append({ record });
      records.push(record);
      if (i > 0) await rm(folderOf(i - 1), { recursive: true, force: true });
    }
    const last = folderOf(steps.length - 1);
    const isPlaced = target !== null && !(await exists(last));
    const result = await named(model, isPlaced ? target : last);
    const run = areStreamed
      ? ({ kind: "stages", report: await joinedStages(model, result, steps, records, options) } as const)
      : ({ kind: "units", report: await joinedUnits(model, result, records, options) } as const);
    if (target === null) return run;
    if (!isPlaced) {
      tell(options, "write", 0, 1);
      const making: Making = recipe === undefined ? {} : { recipe };
      const card =
        run.kind === "stages"
          ? cardOfStages(model, run.report, making)
          : cardOfUnits(model, settingsOf(steps), run.report, making);
      await writeWhole([{ path: join(last, "README.md"), pieces: [new TextEncoder().encode(card)] }], last);
      if (out !== null) await refuseOccupied(out);
      await rename(last, target);
      await syncFolder(dirname(target));
    }
    await journal.remove();
    return run;
  } finally {
    if (target === null) await journal.remove();
  }
}

const stepLine = z.object({ record: recordSchema });

interface PartOptions extends FolderStepsOptions {
  readonly original?: CheckpointModel;
  /** True for one step of several, which is not compared with what it was made of. */
  readonly isPart?: boolean;
}

/** Carries out one step. */
async function one(
  model: CheckpointModel,
  out: string | null,
  { plan, ignore }: FolderStep,
  { command, training, inputs, memory, resume, original, texts = null, isPart = false, ...shared }: PartOptions,
): Promise<CheckpointRun> {
  if (plan.kind === "tokens") {
    const compared = original === undefined ? {} : { original };
    return { kind: "stages", report: await pruneFolderTokens(model, out, plan, { ...shared, ...compared, texts }) };
  }
  if (plan.kind !== "units") {
    const streaming = {
      ...(memory === undefined ? {} : { memory }),
      ...(resume === undefined ? {} : { resume }),
      ...(original === undefined ? {} : { original }),
    };
    const settled = { ...shared, ...streaming, ignore };
    if (plan.kind === "parts") return { kind: "stages", report: await pruneFolderParts(model, out, plan, settled) };
    const measured = inputs === undefined ? {} : { inputs };
    return { kind: "stages", report: await pruneFolder(model, out, plan, { ...settled, ...measured }) };
  }
  const more = {
    ...(command === undefined ? {} : { command }),
    ...(training === undefined ? {} : { training }),
    ...(isPart ? { measure: false, compare: false } : {}),
  };
  return { kind: "units", report: await pruneFolderUnits(model, out, plan, { ...shared, ...more, ignore }) };
}

/** Every setting of every step. */
function settingsOf(steps: readonly FolderStep[]): Readonly<Record<string, unknown>> {
  return { steps: steps.map(({ plan, ignore }) => ({ ...planText(plan), ignore })) };
}

/** What tells a request from others, so that no run goes on with another's steps. */
async function requestOf(
  model: CheckpointModel,
  steps: readonly FolderStep[],
  options: FolderStepsOptions,
): Promise<Readonly<Record<string, unknown>>> {
  const { runtime, batchSize, seed = 0, recipe, inputs = "pruned", memory, loaders = [] } = options;
  const data = (each: Dataset | null | undefined): string | null =>
    each == null ? null : `${each.description}, ${each.count}`;
  return {
    checkpoint: await checkpointPrint(model),
    ...settingsOf(steps),
    recipe: recipe?.(batchSize) ?? null,
    data: [options.calibration, options.general, options.training, options.evaluation].map(data),
    ...(options.texts == null ? {} : { corpus: options.texts.corpus?.description ?? null }),
    ...{ inputs, memory, loaders, seed, batchSize },
    runtime: { name: runtime.device, threads: runtime.threads, version: runtime.version },
  };
}

/** The checkpoint in a folder, under the name of the original. */
async function named({ name }: CheckpointModel, path: string): Promise<CheckpointModel> {
  return checkpointModel({ ...(await openCheckpointFolder(path)), name });
}

/** What all steps did stage by stage, told of the last checkpoint beside the first. */
async function joinedStages(
  model: CheckpointModel,
  result: CheckpointModel,
  steps: readonly FolderStep[],
  records: readonly StepRecord[],
  { runtime, seed = 0, batchSize }: FolderStepsOptions,
): Promise<CheckpointReport> {
  const { layers: all, seconds, blocked, law, advice } = joinParts(records);
  const names = namesNow(result);
  const layers: StagedLayer[] = [];
  for (const { name, kind, before, after } of all) {
    const now = names.get(name);
    if (kind !== "weights" || now === undefined) continue;
    const often = records.filter((record) => record.layers.some((layer) => layer.name === name)).length;
    const ref = result.checkpoint.tensors.get(now);
    // A later step may have kept what an earlier one had made zero.
    const left = often > 1 && ref !== undefined ? await nonzeroIn(ref) : after;
    const stage = result.stages.find(({ parameters }) => parameters.has(now))?.name ?? "";
    layers.push({ name: now, before, after: left, stage });
  }
  const { params, bytes } = sizesOf(result);
  const before = layers.reduce((sum, layer) => sum + layer.before, 0);
  const after = layers.reduce((sum, layer) => sum + layer.after, 0);
  const touched = new Set(layers.map(({ name }) => name));
  const counted = records.flatMap(({ memory }) => memory ?? []);
  const usage = process.resourceUsage();
  return {
    model: model.name,
    type: model.type,
    plan: settingsOf(steps),
    inputs: records.find((record) => record.inputs !== null)?.inputs ?? null,
    calibration: records.find((record) => record.calibration !== null)?.calibration ?? null,
    seed,
    device: { name: runtime.device, threads: runtime.threads, batch: records.at(-1)?.batch ?? batchSize },
    ...{ before: sizesOf(model), params, bytes, parts: joinPartsLeft(records), law, advice },
    pruned: { before, after },
    nonzero: params - before + after,
    metric: records.at(-1)?.metric ?? null,
    loads: willLoad(loadSizes(result), loadSizes(model)),
    layers,
    skipped: blocked.flatMap(({ name, reasons }) => {
      const now = names.get(name);
      return now === undefined || touched.has(now) ? [] : [{ name: now, reason: reasons.join("; ") }];
    }),
    resumed: records.reduce((sum, record) => sum + record.resumed, 0),
    seconds,
    memory: counted.length === 0 ? null : counted.reduce((most, one) => (one.counted > most.counted ? one : most)),
    peakBytes: usage.maxRSS * 1024,
  };
}

/** The names that tensors have now, by those that they had before any step. */
function namesNow({ checkpoint: { tensors, kept } }: CheckpointModel): ReadonlyMap<string, string> {
  return new Map([...tensors.keys()].map((name) => [kept?.names.get(name) ?? name, name]));
}

async function nonzeroIn(ref: TensorRef): Promise<number> {
  const values = toFloat32(await load(ref));
  let count = 0;
  for (let i = 0; i < values.length; i++) if (values[i] !== 0) count++;
  return count;
}

/** What all steps did, of which some removed units, with the last graph measured beside the first. */
async function joinedUnits(
  model: CheckpointModel,
  result: CheckpointModel,
  records: readonly StepRecord[],
  options: FolderStepsOptions,
): Promise<Report> {
  const { runtime, seed = 0, command = "" } = options;
  const clock = phaseClock(options.signal);
  tell(options, "measure", 0, 1);
  const whole = (one: CheckpointModel): Model => modelFrom(one.name, modelOf(one.graph().graph));
  const original = whole(model);
  const shapes = shapesOf(model);
  const measured = await clock.time("measure", async () => {
    const analysis = await analyse(original.onnx.graph, runtime, { shapes });
    return measurePair(original, analysis, whole(result), { ...options, seed, shapes });
  });
  const { advice, seconds, ...parts } = joinParts(records);
  const all = { ...seconds, measure: (seconds["measure"] ?? 0) + (clock.seconds["measure"] ?? 0) };
  return {
    ...{ model: model.name, command, seed },
    versions: { [runtime.device]: runtime.version },
    ...measured,
    ...parts,
    agreement: null,
    loads: willLoad(loadSizes(result), loadSizes(model)),
    baselines: [],
    seconds: all,
    advice: [...new Set([...advice, ...measured.advice, ...runtime.notes])],
  };
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
