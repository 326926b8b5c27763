import { prunable } from "../allocation/prunable.ts";
import { allocateRanks, type RankedLayer } from "../allocation/ranks.ts";
import type { NodeCost } from "../cost/cost.ts";
import type { Graph } from "../graph/graph.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { matcher } from "../plans/ignore.ts";
import type { RankPlan } from "../plans/plan.ts";
import {
  type FactorableKernel,
  factorable,
  factorise,
  projected,
  type RankCut,
  spectraOf,
} from "../surgery/factorise.ts";
import { keptPositions } from "../surgery/kept.ts";
import { bitsOf } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { step } from "../tensor/progress.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { holdToLaw } from "./measuring/hold-to-law.ts";
import type { Engine, SettledOptions } from "./prune.ts";
import { recover } from "./recover.ts";

/** Takes layers apart into two of lower rank: spectra, ranks, surgery, the law, then recovery. */
export const pruneRanks: Engine<RankPlan> = async (analysis, plan, options, clock) => {
  const { graph, matrices } = analysis;
  const chosen = prunable(graph, matrices, plan.prunable ?? "all", matcher(options.ignore ?? []));
  const windowed = ({ shape, inputs }: (typeof chosen)[number]): boolean =>
    sizeOf(inputs.slice(1).map((axis) => shape[axis] ?? 1)) > 1;
  const { kernels, skipped } = factorable(
    graph,
    plan.windows === true ? chosen.filter(windowed) : chosen,
    plan.factors,
  );
  if (kernels.length === 0) {
    throw new EspalierError(
      "request",
      "--granularity rank",
      "expected at least one layer that can be taken apart, got none.",
      skipped.length === 0 ? "Check --ignore." : `Of ${skipped[0]?.name}: ${skipped[0]?.reason}.`,
    );
  }
  const cuts: RankCut[] = [];
  await clock.time("spectra", async () => {
    for (const [i, kernel] of kernels.entries()) {
      step(options, "spectra", i, kernels.length, kernel.matrix.parameter);
      cuts.push({ kernel, spectra: await spectraOf(graph, kernel), rank: 1 });
    }
  });
  const ranks = await clock.time("allocate", async () =>
    allocateRanks(await layersOf(analysis, cuts, options), analysis.cost.total(), plan.target),
  );
  const made = cuts.flatMap((cut, i) => {
    const rank = ranks[i] ?? null;
    return rank === null ? [] : [{ ...cut, rank }];
  });
  const small = await clock.time("cut", async () => factorise(graph, made));
  const law = await holdToLaw(analysis, () => projected(graph, made), small, options, clock);
  const kept = keptPositions(analysis.coupling, new Map());
  return {
    ...(await recover(plan.recovery, analysis, kept, small, options, clock)),
    kept,
    law,
    masks: new Map(),
    layers: kernels.map(({ matrix, fullRank }, i) => ({
      name: matrix.parameter,
      kind: "ranks" as const,
      before: fullRank,
      after: ranks[i] ?? fullRank,
    })),
    blocked: skipped.map(({ name, reason }) => ({ name, reasons: [reason] })),
    nearTies: 0,
  };
};

/** Layers with what they cost whole and for each unit of rank, which is what their factors cost at rank 1. */
async function layersOf(
  analysis: Analysis,
  cuts: readonly RankCut[],
  { runtime, shapes }: SettledOptions,
): Promise<readonly RankedLayer[]> {
  const thin = factorise(analysis.graph, cuts);
  const costs = (await analyse(thin, runtime, { shapes })).cost.byNode();
  const whole = macsByOutput(analysis.cost.byNode());
  const inside = macsInFront(thin, costs);
  return cuts.map(({ kernel, spectra }) => {
    const { factoring, fullRank, matrix } = kernel;
    const { first, second } = factoring.layouts(1);
    const output = matrix.node.outputs[0] ?? "";
    return {
      spectra: spectra.map(({ values }) => values),
      fullRank,
      whole: { macs: whole.get(output) ?? 0, ...numbers(kernel, sizeOf(matrix.shape)) },
      perRank: { macs: inside(output), ...numbers(kernel, sizeOf(first.shape) + sizeOf(second.shape)) },
    };
  });
}

function numbers({ dtype }: FactorableKernel, params: number): { readonly params: number; readonly bytes: number } {
  return { params, bytes: (params * bitsOf(dtype)) / 8 };
}

function macsByOutput(costs: readonly NodeCost[]): ReadonlyMap<string, number> {
  return new Map(costs.map(({ node, macs }) => [node.outputs[0] ?? "", macs]));
}

/** Multiply-accumulates of the node that gives a value and of the one in front of it. */
function macsInFront(graph: Graph, costs: readonly NodeCost[]): (output: string) => number {
  const own = macsByOutput(costs);
  const data = new Map(graph.nodes.map(({ inputs, outputs }) => [outputs[0] ?? "", inputs[0] ?? ""]));
  return (output) => (own.get(output) ?? 0) + (own.get(data.get(output) ?? "") ?? 0);
}
