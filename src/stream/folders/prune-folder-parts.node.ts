import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import * as z from "zod";
import type { Dataset } from "../../data/dataset.ts";
import { saveCheckpoint } from "../../formats/checkpoint/save.node.ts";
import { refuseOccupied } from "../../formats/whole-files.node.ts";
import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { phaseClock } from "../../pipeline/measuring/phase-clock.ts";
import type { PartPlan } from "../../plans/parts.ts";
import { step } from "../../tensor/progress.ts";
import { perplexities } from "../evaluate-checkpoint.ts";
import { hiddenOnDisk } from "../memory/hidden-on-disk.node.ts";
import { hiddenWithin } from "../memory/hidden-within.ts";
import { criterionOf } from "../parts/part-kinds.ts";
import { checkPartPlan, type PartPruneOptions, removeParts, scoreParts } from "../parts/prune-parts.ts";
import { type CheckpointReport, sizesOf } from "../report.ts";
import { cardOfStages, type Making } from "./card.ts";
import { checkpointPrint, planText, windowFacts } from "./fingerprint.ts";
import { hasJournal, openWorkJournal } from "./journal.node.ts";
import { placeFolder, withPlace } from "./place-folder.node.ts";
import { runRoom } from "./run-room.node.ts";
import { earlierBatch } from "./work-folder.node.ts";

export interface FolderPartOptions extends Omit<PartPruneOptions, "clock" | "hidden" | "room">, Making {
  /** Bytes that the run may take: fewer windows run at once, and hidden states go to disk where they would not fit. */
  readonly memory?: number;
  /** Goes on with what an earlier run of the same request left. */
  readonly resume?: boolean;
  /** Text to tell the perplexity of both on, the original and the pruned one. */
  readonly evaluation?: Dataset | null;
  /** The original that the result is compared with, where the model was pruned before. */
  readonly original?: CheckpointModel;
}

const line = z.union([
  z.object({ scores: z.array(z.tuple([z.string(), z.array(z.number())])) }),
  z.object({ complete: z.literal(true) }),
]);

/**
 * Removes numbered parts of a checkpoint into a folder, which appears under its name when it is complete. Scores are noted in
 * a folder of work beside it: a run that was killed goes on with `resume` to the same bytes. Where `out` is null, nothing
 * stays. Throws like `pruneParts`, and `file` where something is there already or the disk refuses.
 */
export async function pruneFolderParts(
  model: CheckpointModel,
  out: string | null,
  plan: PartPlan,
  options: FolderPartOptions,
): Promise<CheckpointReport> {
  const target = out === null ? null : resolve(out);
  const { runtime, ignore = [], loaders = [], resume = false, memory, evaluation = null } = options;
  const calibration = criterionOf(plan).needsData ? options.calibration : null;
  checkPartPlan(model, plan, { ...options, calibration });
  const clock = phaseClock(options.signal);
  const facts = calibration === null ? null : await windowFacts(model, calibration);
  const asked = memory === undefined || evaluation === null ? null : await windowFacts(model, evaluation);
  const beside = target === null ? null : join(dirname(target), `.${basename(target)}.espalier`);
  const earlier = resume && beside !== null ? await earlierBatch(beside) : null;
  const windows = [facts, asked].flatMap((one) => one ?? []);
  const laidOut = { runtime, memory, batchSize: options.batchSize, earlier, windows };
  const head = evaluation !== null || plan.criterion === "error";
  const { room, near, batchSize, ...own } = await runRoom(model, laidOut, { needs: [], gradients: [], head });
  const device = { name: runtime.device, threads: runtime.threads, batch: batchSize };
  const request = {
    checkpoint: await checkpointPrint(model),
    plan: planText(plan),
    windows: facts?.print ?? null,
    ...{ ignore, loaders, device, version: runtime.version },
  };
  const place = beside ?? (await mkdtemp(join(tmpdir(), "espalier-")));
  if (out !== null && !(await hasJournal(place))) await refuseOccupied(out);
  const journal = await openWorkJournal(place, request, line, { resume, expected: "scores of parts" });
  try {
    let files = 0;
    const hidden = () => hiddenWithin(near, () => hiddenOnDisk(join(place, `hidden-${files++}.tmp`)));
    const settled = { ...options, calibration, batchSize, hidden, room, clock };
    const noted = journal.lines.flatMap((each) => ("scores" in each ? [each.scores] : []))[0];
    const known = noted?.map(([name, scores]): [string, Float64Array] => [name, Float64Array.from(scores)]);
    const scores = known === undefined ? await scoreParts(model, plan, settled) : new Map(known);
    if (known === undefined) {
      await journal.append({ scores: [...scores].map(([name, values]) => [name, [...values]]) });
    }
    const pruned = await removeParts(model, plan, scores, settled);
    const metric =
      evaluation === null
        ? null
        : await clock.time("evaluate", () =>
            perplexities(options.original ?? model, pruned.checkpoint, evaluation, settled),
          );
    const { params, bytes } = sizesOf(pruned);
    const report = (): CheckpointReport => ({
      model: model.name,
      type: model.type,
      plan: planText(plan),
      inputs: calibration === null ? null : "dense",
      calibration: calibration?.description ?? null,
      ...{ seed: plan.seed, device, before: sizesOf(model), params, bytes, metric },
      ...{ parts: pruned.parts, law: pruned.law, loads: pruned.loads, advice: pruned.advice },
      ...{ pruned: { before: 0, after: 0 }, nonzero: params, layers: [], skipped: [] },
      resumed: known === undefined ? 0 : 1,
      seconds: clock.seconds,
      memory: own.memory(),
      peakBytes: process.resourceUsage().maxRSS * 1024,
    });
    if (target === null) return report();
    const isComplete = journal.lines.some((each) => "complete" in each);
    const work = { isComplete, complete: () => journal.append({ complete: true }), remove: journal.remove };
    await placeFolder(target, place, work, () => {
      step(options, "write", 0, 1);
      const texts = new Map([["README.md", cardOfStages(model, report(), options)]]);
      return clock.time("write", () => saveCheckpoint(pruned.checkpoint, join(place, "checkpoint"), { texts }));
    });
    return report();
  } catch (cause) {
    if (target === null) throw cause;
    throw withPlace(cause, place);
  } finally {
    if (target === null) await journal.remove();
  }
}
