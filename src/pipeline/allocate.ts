import { allocateUnits } from "../allocation/units.ts";
import type { Group } from "../coupling/couple.ts";
import { unitMasks } from "../masks/units.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Session } from "../runtime/runtime.ts";
import { cut } from "../surgery/cut.ts";
import type { UnitMasks } from "../surgery/kept.ts";
import { EspalierError } from "../tensor/error.ts";
import { step } from "../tensor/progress.ts";
import { latencyFeeds } from "./latency-feeds.ts";
import type { UnitPlan } from "./plan.ts";
import type { PruneOptions } from "./prune.ts";

/** Widths in multiples of these are compared; convolutions on x86 step by 16, matrix products hardly step. */
const STEPS = [1, 4, 8, 16] as const;

/** A coarser step must be this much faster to be worth the freedom it costs. */
const WORTH = 0.97;

/** Turns scores into masks under the plan's target, choosing the step of widths by measurement when asked to. */
export async function allocate(
  analysis: Analysis,
  plan: UnitPlan,
  scores: ReadonlyMap<Group, Float64Array>,
  options: PruneOptions,
): Promise<UnitMasks> {
  const masksAt = (roundTo: number): UnitMasks =>
    unitMasks(
      scores,
      allocateUnits(scores, analysis.coupling, analysis.cost, plan.target, { ...plan.allocation, roundTo }),
    );
  const { roundTo } = plan.allocation;
  // The finest step tells whether the target can be met at all.
  if (roundTo === "auto") masksAt(1);
  if (roundTo !== "auto") return masksAt(roundTo);
  const candidates: { readonly masks: UnitMasks; readonly session: Session }[] = [];
  const feeds = await latencyFeeds(analysis, options.latencyBatch ?? 1);
  try {
    for (const [i, each] of STEPS.entries()) {
      step(options, "choose widths", i, STEPS.length, `multiples of ${each}`);
      const masks = reachable(() => masksAt(each));
      if (masks === null) continue;
      const graph = await cut(analysis.graph, analysis.coupling, analysis.facts, masks);
      candidates.push({ masks, session: await options.runtime.compile(graph) });
    }
    const measured = await options.runtime.measure(
      candidates.map(({ session }) => ({ session, feeds })),
      { runs: 20, maxSeconds: 6 },
    );
    let best = 0;
    for (let i = 1; i < candidates.length; i++) {
      if ((measured[i]?.p10Ms ?? 0) < WORTH * (measured[best]?.p10Ms ?? 0)) best = i;
    }
    return candidates[best]?.masks ?? masksAt(1);
  } finally {
    for (const { session } of candidates) await session.release();
  }
}

/** A coarse step can make a target unreachable that a finer one meets; then the coarse one is left out. */
function reachable(masks: () => UnitMasks): UnitMasks | null {
  try {
    return masks();
  } catch (error) {
    if (error instanceof EspalierError && error.code === "request") return null;
    throw error;
  }
}
