import { prunable } from "../allocation/prunable.ts";
import type { Matrix } from "../coupling/matrices.ts";
import type { Graph } from "../graph/graph.ts";
import { matcher } from "../plans/ignore.ts";
import type { WeightPlan } from "../plans/plan.ts";
import { openProducts } from "../runtime/open-products.ts";
import { exponential } from "../schedule/sparsity-schedule.ts";
import { pruneWeights as pruneBy, type SparseGraph, type WeightSelection } from "../sparsify/prune-weights.ts";
import { keptPositions } from "../surgery/kept.ts";
import { EspalierError } from "../tensor/error.ts";
import { type HostTensor, load } from "../tensor/tensor.ts";
import type { Engine } from "./prune.ts";
import { recover } from "./recover.ts";
import { needsData, openMeter, readerOf } from "./statistics.ts";
import { maskBy, needsOf, refit, type ZeroOptions, zeroWeights } from "./zero-weights.ts";

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
  const { criterion, sweep, rounds = 1 } = plan;
  checkRounds(plan);
  const needs = needsOf(plan);
  const { allocator, pattern, sparsity } = plan;
  if (allocator?.needsData === true && calibration === null) throw needsData(allocator.id);
  const meter = await clock.time("calibrate", () =>
    openMeter(analysis, chosen, { ...criterion, needs }, calibration, options),
  );
  const measured = (graph: Graph) => clock.time("calibrate", async () => readerOf(await meter.measure(graph)));
  const products = sweep === undefined ? null : openProducts(options.runtime);
  let sparse: SparseGraph;
  try {
    const read = await measured(analysis.graph);
    const masked = async (matrix: Matrix, share: number): Promise<HostTensor> => {
      const alone = { pattern, scope: "tensor", profile: "uniform", sparsity: share } as const;
      const { graph } = await pruneBy(analysis.graph, [matrix], plan.criterion, alone, read);
      return load(graph.constants.get(matrix.parameter) ?? missing(matrix.parameter));
    };
    const context = { ...options, analysis, matrices: chosen, masked, sparsity, calibration, job: options };
    const table = await clock.time("allocate", async () => allocator?.table(context) ?? plan.table);
    const selection = table === undefined ? plan : { ...plan, table };
    const job: ZeroOptions = { ...options, clock, ...(products === null ? {} : { products }) };
    if (rounds === 1) sparse = await zeroWeights(analysis.graph, chosen, { ...plan, ...selection }, read, job);
    else {
      // Each round reads what the one before made, so it stays in memory.
      const held = { ...job, residentBytes: Number.POSITIVE_INFINITY };
      sparse = await inRounds(rounds, async (point, before) => {
        const by = before === null ? read : await measured(before.graph);
        const part = { criterion, ...selectionAt(selection, point) };
        return maskBy(before?.graph ?? analysis.graph, chosen, part, by, held);
      });
      if (sweep === "refit") sparse = await refit(analysis.graph, chosen, sparse, plan.sweeping, read, job);
    }
  } finally {
    await products?.release();
    await meter.release();
  }
  const kept = keptPositions(analysis.coupling, new Map());
  const { graph, training, advice } = await recover(plan.recovery, analysis, kept, sparse.graph, options, clock);
  return {
    graph,
    kept,
    training,
    masks: new Map(),
    nearTies: 0,
    law: null,
    layers: sparse.layers.map((layer) => ({ ...layer, kind: "weights" as const })),
    blocked: sparse.skipped.map(({ name, reason }) => ({ name, reasons: [reason] })),
    advice,
  };
};

/** As many rounds, each from what the one before made; points of the way go from 0 to 1. */
async function inRounds(
  count: number,
  round: (point: number, before: SparseGraph | null) => Promise<SparseGraph>,
): Promise<SparseGraph> {
  let sparse = await round(1 / count, null);
  for (let done = 1; done < count; done++) sparse = await round((done + 1) / count, sparse);
  return sparse;
}

/** What goes up to a point of the way, 0 to 1: the same share of what is left in every round. */
function selectionAt(selection: WeightSelection, point: number): WeightSelection {
  const share = (final: number): number => (point === 1 ? final : exponential(point, final));
  const { sparsity, table } = selection;
  return {
    ...selection,
    zerosFirst: true,
    sparsity: share(sparsity),
    ...(table === undefined ? {} : { table: new Map([...table].map(([name, final]) => [name, share(final)])) }),
  };
}

function checkRounds({ rounds = 1, pattern, sweep }: WeightPlan): void {
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new EspalierError("request", "--rounds", `expected a whole number from 1 on, got ${rounds}.`);
  }
  if (rounds === 1 || (pattern.kind !== "n:m" && sweep !== "choose")) return;
  const what = sweep === "choose" ? "a sweep that chooses" : "a pattern that keeps N of M";
  throw new EspalierError("request", "--rounds", `expected a share that can be reached in steps, got ${what}.`);
}

function missing(parameter: string): never {
  throw new EspalierError("model", parameter, "expected a parameter of the model, got none.");
}
