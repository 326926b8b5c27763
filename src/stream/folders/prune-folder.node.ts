import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import type { Dataset } from "../../data/dataset.ts";
import { openCheckpointFolder } from "../../formats/checkpoint/open.node.ts";
import { saveCheckpoint } from "../../formats/checkpoint/save.node.ts";
import { refuseOccupied } from "../../formats/whole-files.node.ts";
import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { loadSizes } from "../../models/loaders/sizes.ts";
import type { LoaderName } from "../../models/loaders/table.ts";
import { refuseUnloadable, willLoad } from "../../models/loaders/will-load.ts";
import { phaseClock } from "../../pipeline/measuring/phase-clock.ts";
import type { WeightPlan } from "../../plans/plan.ts";
import { step } from "../../tensor/progress.ts";
import type { CheckpointPruneOptions } from "../courses.ts";
import { perplexities } from "../evaluate-checkpoint.ts";
import { hiddenOnDisk } from "../memory/hidden-on-disk.node.ts";
import { hiddenWithin } from "../memory/hidden-within.ts";
import { versionsOnDisk } from "../memory/versions-on-disk.node.ts";
import { pruneCheckpoint } from "../prune-checkpoint.ts";
import { type CheckpointReport, sizesOf } from "../report.ts";
import { streamedNeeds } from "../streamed-plan.ts";
import { cardOfStages, type Making } from "./card.ts";
import { checkpointPrint, planText, windowFacts } from "./fingerprint.ts";
import { hasJournal } from "./journal.node.ts";
import { isThere, placeFolder, withPlace } from "./place-folder.node.ts";
import { runRoom } from "./run-room.node.ts";
import { earlierBatch, openWorkFolder } from "./work-folder.node.ts";

export interface FolderPruneOptions extends Omit<CheckpointPruneOptions, "work" | "clock" | "hidden" | "room">, Making {
  /** What has to load the result; nothing is done where one would not. */
  readonly loaders?: readonly LoaderName[];
  /**
   * Bytes that the run may take: fewer windows run at once, stages are not read ahead, and hidden states go to disk where they would
   * not fit. What is kept is counted before it is allocated.
   */
  readonly memory?: number;
  /** Goes on with what an earlier run of the same request left. */
  readonly resume?: boolean;
  /** Text to tell the perplexity of both on, the original and the pruned one. */
  readonly evaluation?: Dataset | null;
  /** The original that the result is compared with, where the model was pruned before. */
  readonly original?: CheckpointModel;
  /** Seed that the plan was made with, for the report. */
  readonly seed?: number;
  /** Files that are written beside the tensors, by their names, beside or in place of the model card in README.md. */
  readonly texts?: (report: CheckpointReport) => ReadonlyMap<string, string>;
}

/**
 * Prunes a checkpoint into a folder, which appears under its name when it is complete. Finished stages lie in a folder of work
 * beside it until then: a run that was killed goes on with `resume` to the same bytes, for the same threads of the same
 * runtime. Where `out` is null, stages lie in the system's folder for temporary files until all is measured, and nothing stays.
 * Nothing of the input is written to. Throws `file` where something is there already or the disk refuses.
 */
export async function pruneFolder(
  model: CheckpointModel,
  out: string | null,
  plan: WeightPlan,
  options: FolderPruneOptions,
): Promise<CheckpointReport> {
  const target = out === null ? null : resolve(out);
  const { runtime, inputs = "pruned", ignore = [], seed = 0, resume = false, memory, evaluation = null } = options;
  const sizes = loadSizes(model);
  const loads = willLoad(sizes, sizes);
  refuseUnloadable(willLoad(sizes, sizes, options.loaders ?? []), model.name);
  const needs = streamedNeeds(plan, options);
  const calibration = needs.inputs.length === 0 && needs.gradients.length === 0 ? null : options.calibration;
  const general = needs.gradients.some((gradient) => gradient.general) ? (options.general ?? null) : null;
  const clock = phaseClock();
  const facts = calibration === null ? null : await windowFacts(model, calibration);
  const others = general === null ? null : await windowFacts(model, general);
  const asked = memory === undefined || evaluation === null ? null : await windowFacts(model, evaluation);
  const beside = target === null ? null : join(dirname(target), `.${basename(target)}.espalier`);
  const earlier = resume && beside !== null ? await earlierBatch(beside) : null;
  const windows = [facts, others, asked].flatMap((one) => one ?? []);
  const { room, near, batchSize, ...own } = await runRoom(
    model,
    { runtime, memory, batchSize: options.batchSize, earlier, windows },
    {
      needs: needs.inputs,
      gradients: needs.gradients.map(({ need }) => need),
      head: evaluation !== null,
    },
  );
  const device = { name: runtime.device, threads: runtime.threads, batch: batchSize };
  const request = {
    checkpoint: await checkpointPrint(model),
    plan: planText(plan),
    windows: facts?.print ?? null,
    ...(others === null ? {} : { general: others.print }),
    ...{ inputs, ignore, seed, device, version: runtime.version },
  };
  const place = beside ?? (await mkdtemp(join(tmpdir(), "espalier-")));
  if (out !== null && !(await hasJournal(place))) await refuseOccupied(out);
  const work = await openWorkFolder(place, request, { resume });
  try {
    const resumed = model.stages.filter(({ name }) => work.get(name) !== undefined).length;
    let files = 0;
    const hidden = () => hiddenWithin(near, () => hiddenOnDisk(join(place, `hidden-${files++}.tmp`)));
    const versions = await versionsOnDisk(place);
    const settled = { ...options, calibration, general, batchSize, hidden, versions, room };
    const pruned = await pruneCheckpoint(model, plan, { ...settled, work, clock });
    const whole = join(place, "checkpoint");
    const isPlaced = target !== null && work.isComplete && !(await isThere(whole));
    const result = isPlaced ? await openCheckpointFolder(target) : pruned.checkpoint;
    const metric =
      evaluation === null
        ? null
        : await clock.time("evaluate", () => perplexities(options.original ?? model, result, evaluation, settled));
    const { params, bytes } = sizesOf(model);
    const before = pruned.layers.reduce((sum, layer) => sum + layer.before, 0);
    const after = pruned.layers.reduce((sum, layer) => sum + layer.after, 0);
    const report = (): CheckpointReport => ({
      model: model.name,
      type: model.type,
      plan: planText(plan),
      inputs: calibration === null ? null : inputs,
      calibration: calibration?.description ?? null,
      ...{ seed, device, params, bytes, resumed, metric },
      ...{ before: sizesOf(model), parts: [], law: null, advice: [] },
      pruned: { before, after },
      nonzero: params - before + after,
      loads,
      layers: pruned.layers,
      skipped: pruned.skipped,
      seconds: clock.seconds,
      memory: own.memory(),
      peakBytes: process.resourceUsage().maxRSS * 1024,
    });
    if (target === null) return report();
    await placeFolder(target, place, work, () => {
      step(options, "write", 0, 1);
      const card = cardOfStages(model, report(), options);
      const texts = new Map([["README.md", card], ...(options.texts?.(report()) ?? [])]);
      return clock.time("write", () => saveCheckpoint(pruned.checkpoint, whole, { texts }));
    });
    return report();
  } catch (cause) {
    if (target === null) throw cause;
    throw withPlace(cause, place);
  } finally {
    if (target === null) await work.remove();
  }
}
