import type { Graph } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Recovery } from "../recovery/recovery.ts";
import type { Kept } from "../surgery/kept.ts";
import type { PhaseClock } from "./phase-clock.ts";
import type { PruneOptions } from "./prune.ts";
import { needsData } from "./statistics.ts";

/** Applies the recoveries of a plan one after the other. Throws `request` where one needs data and there is none. */
export async function recover(
  recoveries: readonly Recovery[],
  original: Analysis,
  kept: Kept,
  pruned: Graph,
  options: PruneOptions & { readonly batchSize: number },
  clock: PhaseClock,
): Promise<Graph> {
  const { runtime, calibration = null, batchSize } = options;
  let graph = pruned;
  for (const recovery of recoveries) {
    if (recovery.needsData && calibration === null) throw needsData(recovery.id);
    const context = { runtime, original, kept, pruned: graph, calibration, batchSize, job: options };
    graph = await clock.time(`recover ${recovery.id}`, () => recovery.apply(context));
  }
  return graph;
}
