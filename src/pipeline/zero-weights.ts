import type { Matrix } from "../coupling/matrices.ts";
import type { MatrixStatistics, Statistic } from "../criteria/criterion.ts";
import type { StatisticsOf } from "../criteria/unit-scores.ts";
import type { Graph } from "../graph/graph.ts";
import type { WeightPlan } from "../plans/plan.ts";
import { pruneWeights, type SparseGraph, type WeightOptions, type WeightSelection } from "../sparsify/prune-weights.ts";
import { type SweepWeightsOptions, sweepWeights } from "../sparsify/sweep-weights.ts";
import type { PhaseClock } from "./measuring/phase-clock.ts";

export interface ZeroOptions extends WeightOptions, Pick<SweepWeightsOptions, "products"> {
  readonly clock: PhaseClock;
}

type Reader = (matrix: Matrix | null) => MatrixStatistics | undefined;

/** What a plan of single weights has to have measured: what its criterion reads, and the Gram matrix for a sweep. */
export function needsOf({ criterion, sweep }: Pick<WeightPlan, "criterion" | "sweep">): readonly Statistic[] {
  // A sweep that chooses looks at nothing but the Gram matrix.
  if (sweep === "choose") return ["gram"];
  return sweep === undefined ? criterion.needs : [...new Set<Statistic>([...criterion.needs, "gram"])];
}

/**
 * Sets weights of a graph to zero as a plan says: by a mask, by a sweep, or by a mask and a sweep that keeps it. `selection` says
 * which, where it is not the plan itself. The result reads the graph's constants and nothing else of it.
 */
export async function zeroWeights(
  graph: Graph,
  matrices: readonly Matrix[],
  plan: Pick<WeightPlan, "criterion" | "sweep" | "sweeping"> & WeightSelection,
  read: Reader,
  options: ZeroOptions,
): Promise<SparseGraph> {
  const { pattern, sparsity, sweep, sweeping } = plan;
  if (sweep === "choose") {
    const choose: SweepWeightsOptions["choose"] =
      pattern.kind === "n:m" ? { kind: "pattern", pattern } : { kind: "sparsity", sparsity };
    return sweepBy(graph, matrices, choose, sweeping, read, options);
  }
  const sparse = await maskBy(graph, matrices, plan, read, options);
  return sweep === "refit" ? refit(graph, matrices, sparse, sweeping, read, options) : sparse;
}

/** Sets weights to zero by their scores. */
export function maskBy(
  graph: Graph,
  matrices: readonly Matrix[],
  plan: Pick<WeightPlan, "criterion"> & WeightSelection,
  read: Reader,
  { clock, ...options }: ZeroOptions,
): Promise<SparseGraph> {
  return clock.time("mask", () => pruneWeights(graph, matrices, plan.criterion, plan, read, options));
}

/** The zeros of a sparse graph, with what stays making up for them. */
export function refit(
  graph: Graph,
  matrices: readonly Matrix[],
  sparse: SparseGraph,
  sweeping: WeightPlan["sweeping"],
  read: Reader,
  options: ZeroOptions,
): Promise<SparseGraph> {
  return sweepBy(graph, matrices, { kind: "zeros-of", graph: sparse.graph }, sweeping, read, options);
}

function sweepBy(
  graph: Graph,
  matrices: readonly Matrix[],
  choose: SweepWeightsOptions["choose"],
  sweeping: WeightPlan["sweeping"],
  read: StatisticsOf<"gram">,
  { clock, ...options }: ZeroOptions,
): Promise<SparseGraph> {
  return clock.time("sweep", () => sweepWeights(graph, matrices, read, { ...options, ...sweeping, choose }));
}
