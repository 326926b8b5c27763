import type { Target } from "../allocation/target.ts";
import { allocateUnits } from "../allocation/units.ts";
import type { Group } from "../coupling/couple.ts";
import type { Graph } from "../graph/graph.ts";
import { unitMasks } from "../masks/units.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Session } from "../runtime/runtime.ts";
import type { DroppedGroup, Selector } from "../search/select-units.ts";
import { dropBranches } from "../surgery/bypass.ts";
import { cut } from "../surgery/cut.ts";
import type { UnitMasks } from "../surgery/kept.ts";
import { EspalierError } from "../tensor/error.ts";
import { step } from "../tensor/progress.ts";
import { latencyFeeds } from "./latency-feeds.ts";
import type { UnitPlan } from "./plan.ts";
import type { PruneOptions } from "./prune.ts";

/** Which units go, and which residual branches go as a whole. */
export interface Chosen {
  readonly masks: UnitMasks;
  readonly dropped: readonly DroppedGroup[];
}

/** What a target and a step of widths lead to. Throws `request` for a target that cannot be met. */
export type Select = (target: Target, roundTo: number) => Chosen;

/** Units by their scores. */
export function byScores(analysis: Analysis, plan: UnitPlan, scores: ReadonlyMap<Group, Float64Array>): Select {
  return (target, roundTo) => ({
    masks: unitMasks(
      scores,
      allocateUnits(scores, analysis.coupling, analysis.cost, target, { ...plan.allocation, roundTo }),
    ),
    dropped: [],
  });
}

/** Units, widths and branches together by what their removal costs after refitting. */
export function byError(selector: Selector, plan: UnitPlan): Select {
  const { minKept } = plan.allocation;
  return (target, roundTo) => selector.select(target, { roundTo, minKept });
}

/** The graph without what was chosen, before any repair of weights. */
async function without(analysis: Analysis, { masks, dropped }: Chosen): Promise<Graph> {
  const graph = await cut(analysis.graph, analysis.coupling, analysis.facts, masks);
  return dropBranches(graph, dropped, analysis.facts.types);
}

/** Widths in multiples of these are compared; convolutions on x86 step by 16, matrix products hardly step. */
const STEPS = [1, 4, 8, 16] as const;

/** A coarser step must be this much faster to be worth the freedom it costs. */
const WORTH = 0.97;

/** Meets the plan's target, choosing the step of widths by measurement when asked to. */
export async function choose(
  analysis: Analysis,
  plan: UnitPlan,
  select: Select,
  options: PruneOptions,
): Promise<Chosen> {
  const { target } = plan;
  const { roundTo } = plan.allocation;
  if (target.kind === "latency") return withinLatency(analysis, select, target.maxMs, roundTo, options);
  if (roundTo !== "auto") return select(target, roundTo);
  // The finest step tells whether the target can be met at all.
  const finest = select(target, 1);
  const candidates: Chosen[] = [finest];
  for (const each of STEPS.slice(1)) {
    const chosen = reachable(() => select(target, each));
    if (chosen !== null) candidates.push(chosen);
  }
  const times = await timesOf(analysis, candidates, options);
  let best = 0;
  for (let i = 1; i < candidates.length; i++) if ((times[i] ?? 0) < WORTH * (times[best] ?? 0)) best = i;
  return candidates[best] ?? finest;
}

/** Rounds of the search for a latency; each halves the range of remaining work. */
const LATENCY_ROUNDS = 7;

/** What is measured must lie this far below the limit, so that the next measurement still does. */
const MARGIN = 0.98;

/**
 * The largest share of the work whose measured time stays within the limit. Machines drift, so each try runs in turns with
 * the original, and the limit counts as a share of the original's time. Throws `request` with the least time found.
 */
async function withinLatency(
  analysis: Analysis,
  select: Select,
  maxMs: number,
  roundTo: number | "auto",
  options: PruneOptions,
): Promise<Chosen> {
  const width = roundTo === "auto" ? 16 : roundTo;
  const whole: Chosen = { masks: new Map(), dropped: [] };
  const [full = 0] = await timesOf(analysis, [whole], options);
  let low = 0;
  let high = 1;
  let best: Chosen | null = full <= maxMs ? whole : null;
  let least = full;
  for (let round = 0; round < LATENCY_ROUNDS && best !== whole; round++) {
    // Time hardly ever falls as far as the work does: start near the share.
    const keep = round === 0 ? Math.min(0.95, maxMs / full) : (low + high) / 2;
    step(options, "search latency", round, LATENCY_ROUNDS, `${(100 * keep).toFixed(0)} % of the MACs`);
    const chosen = reachable(() => select({ kind: "macs", keep }, width));
    if (chosen === null) {
      low = keep;
      continue;
    }
    const [before = 1, after = 1] = await timesOf(analysis, [whole, chosen], options);
    const time = (after / before) * full;
    least = Math.min(least, time);
    if (time <= maxMs * MARGIN) {
      best = chosen;
      low = keep;
    } else high = keep;
  }
  if (best !== null) return best;
  throw new EspalierError(
    "request",
    "--max-latency",
    `expected a time that this model can reach, got ${maxMs} ms.`,
    `The original took ${full.toPrecision(3)} ms, the fastest that was tried ${least.toPrecision(3)} ms.`,
  );
}

/** Milliseconds of each candidate, measured in turn: the median, which the report shows too. */
async function timesOf(
  analysis: Analysis,
  candidates: readonly Chosen[],
  options: PruneOptions,
): Promise<readonly number[]> {
  const feeds = await latencyFeeds(analysis, options.latencyBatch ?? 1);
  const sessions: Session[] = [];
  try {
    for (const [i, chosen] of candidates.entries()) {
      if (candidates.length > 2) step(options, "choose widths", i, candidates.length);
      sessions.push(await options.runtime.compile(await without(analysis, chosen)));
    }
    const measured = await options.runtime.measure(
      sessions.map((session) => ({ session, feeds })),
      { runs: 20, maxSeconds: 6 },
    );
    return measured.map(({ medianMs }) => medianMs);
  } finally {
    for (const session of sessions) await session.release();
  }
}

/** A coarse step can make a target unreachable that a finer one meets; then the coarse one is left out. */
function reachable(chosen: () => Chosen): Chosen | null {
  try {
    return chosen();
  } catch (error) {
    if (error instanceof EspalierError && error.code === "request") return null;
    throw error;
  }
}
