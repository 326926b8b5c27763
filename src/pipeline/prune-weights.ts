import { prunable } from "../allocation/prunable.ts";
import type { Matrix } from "../coupling/matrices.ts";
import type { Statistic } from "../criteria/criterion.ts";
import { type SparseGraph, pruneWeights as zeroWeights } from "../sparsify/prune-weights.ts";
import { type SweepWeightsOptions, sweepWeights } from "../sparsify/sweep-weights.ts";
import { keptPositions } from "../surgery/kept.ts";
import { EspalierError } from "../tensor/error.ts";
import { type HostTensor, load } from "../tensor/tensor.ts";
import { matcher } from "./ignore.ts";
import type { WeightPlan } from "./plan.ts";
import type { Engine } from "./prune.ts";
import { recover } from "./recover.ts";
import { needsData, readerOf, statisticsFor } from "./statistics.ts";

/** Sets weights to zero in place: scores, masks, then recovery that keeps the zeros. */
export const pruneWeights: Engine<WeightPlan> = async (analysis, plan, options, clock) => {
  const { calibration = null } = options;
  const chosen = prunable(analysis.graph, analysis.matrices, plan.prunable ?? "all", matcher(options.ignore ?? []));
  if (chosen.length === 0) {
    throw new EspalierError(
      "request",
      "prune",
      "expected at least one weight matrix, got none.",
      "Run espalier inspect to see the layers, and check --ignore.",
    );
  }
  const { criterion, sweep } = plan;
  const measured =
    sweep === undefined ? criterion : { ...criterion, needs: [...new Set<Statistic>([...criterion.needs, "gram"])] };
  const statistics = await clock.time("calibrate", () =>
    statisticsFor(analysis, chosen, measured, calibration, options),
  );
  const read = readerOf(statistics);
  const { allocator, pattern, sparsity } = plan;
  if (allocator?.needsData === true && calibration === null) throw needsData(allocator.id);
  const masked = async (matrix: Matrix, share: number): Promise<HostTensor> => {
    const alone = { pattern, scope: "tensor", profile: "uniform", sparsity: share } as const;
    const { graph } = await zeroWeights(analysis.graph, [matrix], plan.criterion, alone, read);
    return load(graph.constants.get(matrix.parameter) ?? missing(matrix.parameter));
  };
  const context = { ...options, analysis, matrices: chosen, masked, sparsity, calibration, job: options };
  const table = await clock.time("allocate", async () => allocator?.table(context) ?? plan.table);
  const selection = table === undefined ? plan : { ...plan, table };
  const sweptBy = (choose: SweepWeightsOptions["choose"]) =>
    clock.time("sweep", () => sweepWeights(analysis.graph, chosen, read, { ...options, choose }));
  let sparse: SparseGraph;
  if (sweep === "choose") {
    sparse = await sweptBy(pattern.kind === "n:m" ? { kind: "pattern", pattern } : { kind: "sparsity", sparsity });
  } else {
    sparse = await clock.time("mask", () =>
      zeroWeights(analysis.graph, chosen, plan.criterion, selection, read, options),
    );
    if (sweep === "refit") sparse = await sweptBy({ kind: "zeros-of", graph: sparse.graph });
  }
  const kept = keptPositions(analysis.coupling, new Map());
  const { graph, training } = await recover(plan.recovery, analysis, kept, sparse.graph, options, clock);
  return {
    graph,
    kept,
    training,
    masks: new Map(),
    nearTies: 0,
    law: null,
    layers: sparse.layers.map((layer) => ({ ...layer, kind: "weights" as const })),
    blocked: sparse.skipped.map(({ name, reason }) => ({ name, reasons: [reason] })),
    advice: [],
  };
};

function missing(name: string): never {
  throw new EspalierError("model", name, "expected a parameter of the model, got none.");
}
