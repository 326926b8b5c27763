import type { Graph } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Origin, Recovery } from "../recovery/recovery.ts";
import { type KeptPositions, through } from "../surgery/kept.ts";
import type { TrainingRecord } from "../train/training-record.ts";
import type { PhaseClock } from "./measuring/phase-clock.ts";
import type { SettledOptions } from "./prune.ts";
import { needsData } from "./statistics.ts";

/** The origin of what is left after a pruning, and before it another of the same model. */
export function originOf(last: Origin, earlier: Origin | undefined): Origin {
  if (earlier === undefined) return last;
  return { original: earlier.original, kept: through(earlier.kept, last.kept) };
}

/**
 * Applies the recoveries of a plan one after the other, and says of which there was nothing to do. Throws `request` where one needs data and
 * there is none.
 */
export async function recover(
  recoveries: readonly Recovery[],
  original: Analysis,
  kept: KeptPositions,
  pruned: Graph,
  options: SettledOptions,
  clock: PhaseClock,
): Promise<{
  readonly graph: Graph;
  readonly training: readonly TrainingRecord[];
  readonly advice: readonly string[];
}> {
  const { runtime, calibration = null, batchSize, seed, fixedParameters = false } = options;
  const first = originOf({ original, kept }, options.origin);
  const inputs = options.training ?? calibration;
  const training: TrainingRecord[] = [];
  const record = (done: TrainingRecord): number => training.push(done);
  const advice: string[] = [];
  let graph = pruned;
  for (const recovery of recoveries) {
    if (recovery.needsData && calibration === null && inputs === null) throw needsData(recovery.id);
    const own = { runtime, original, kept, pruned: graph, calibration: calibration ?? inputs, training: inputs };
    const context = { ...own, batchSize, seed, fixedParameters, job: options, record, first };
    const before = graph;
    graph = await clock.time(`recover ${recovery.id}`, () => recovery.apply(context));
    if (recovery.needsData && graph === before)
      advice.push(`Recovery ${recovery.id} found nothing that it could repair.`);
  }
  return { graph, training, advice };
}
