import { prunable } from "../allocation/prunable.ts";
import type { Matrix } from "../coupling/matrices.ts";
import type { MatrixStatistics } from "../criteria/criterion.ts";
import { pruneWeights as zeroWeights } from "../sparsify/prune-weights.ts";
import { keptPositions } from "../surgery/kept.ts";
import { EspalierError } from "../tensor/error.ts";
import { matcher } from "./ignore.ts";
import type { WeightPlan } from "./plan.ts";
import type { Engine } from "./prune.ts";
import { emptyStatistics, needsData, statisticsFor } from "./statistics.ts";

/** Sets weights to zero in place: scores, masks, then recovery that keeps the zeros. */
export const pruneWeights: Engine<WeightPlan> = async (analysis, plan, options, clock) => {
  const { runtime, calibration = null } = options;
  const chosen = prunable(analysis.graph, analysis.matrices, plan.prunable ?? "all", matcher(options.ignore ?? []));
  if (chosen.length === 0) {
    throw new EspalierError(
      "request",
      "prune",
      "expected at least one weight matrix, got none.",
      "Run espalier inspect to see the layers, and check --ignore.",
    );
  }
  const statistics = await clock.time("calibrate", () =>
    statisticsFor(analysis, chosen, plan.criterion, calibration, options),
  );
  const read = (matrix: Matrix | null): MatrixStatistics =>
    matrix === null ? emptyStatistics : { ...emptyStatistics, ...statistics.get(matrix) };
  const sparse = await clock.time("mask", () =>
    zeroWeights(analysis.graph, chosen, plan.criterion, plan, read, options),
  );
  let graph = sparse.graph;
  const kept = keptPositions(analysis.coupling, new Map());
  for (const recovery of plan.recovery) {
    if (recovery.needsData && calibration === null) throw needsData(recovery.id);
    graph = await clock.time(`recover ${recovery.id}`, () =>
      recovery.apply({
        runtime,
        original: analysis,
        kept,
        pruned: graph,
        calibration,
        batchSize: options.batchSize,
        job: options,
      }),
    );
  }
  return {
    graph,
    masks: new Map(),
    law: null,
    layers: sparse.layers.map((layer) => ({ ...layer, kind: "weights" as const })),
    blocked: sparse.skipped.map(({ name, reason }) => ({ name, reasons: [reason] })),
    advice: [],
  };
};
