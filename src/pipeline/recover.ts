import type { Graph } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Origin, Recovery } from "../recovery/recovery.ts";
import { type KeptPositions, through } from "../surgery/kept.ts";
import type { PhaseClock } from "./phase-clock.ts";
import type { PruneOptions } from "./prune.ts";
import { needsData } from "./statistics.ts";

/** The origin of what is left after a pruning, and before it another of the same model. */
export function originOf(last: Origin, earlier: Origin | undefined): Origin {
  if (earlier === undefined) return last;
  return { original: earlier.original, kept: through(earlier.kept, last.kept) };
}

/** Applies the recoveries of a plan one after the other. Throws `request` where one needs data and there is none. */
export async function recover(
  recoveries: readonly Recovery[],
  original: Analysis,
  kept: KeptPositions,
  pruned: Graph,
  options: PruneOptions & { readonly batchSize: number },
  clock: PhaseClock,
): Promise<Graph> {
  const { runtime, calibration = null, batchSize } = options;
  const first = originOf({ original, kept }, options.origin);
  let graph = pruned;
  for (const recovery of recoveries) {
    if (recovery.needsData && calibration === null) throw needsData(recovery.id);
    const context = { runtime, original, kept, pruned: graph, calibration, batchSize, job: options, first };
    graph = await clock.time(`recover ${recovery.id}`, () => recovery.apply(context));
  }
  return graph;
}
