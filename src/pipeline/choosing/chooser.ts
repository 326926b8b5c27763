import type { Target } from "../../allocation/target.ts";
import { allocateUnits, type UnitAllocationOptions } from "../../allocation/units.ts";
import type { Group } from "../../coupling/couple.ts";
import type { Graph } from "../../graph/graph.ts";
import { unitMasks } from "../../masks/units.ts";
import type { Analysis } from "../../models/analysis.ts";
import type { UnitPlan } from "../../plans/plan.ts";
import type { Session } from "../../runtime/runtime.ts";
import type { DroppedGroup, Selector } from "../../search/select-units.ts";
import { widthsOf, widthTimes } from "../../search/width-times.ts";
import { dropBranches } from "../../surgery/bypass.ts";
import { cut } from "../../surgery/cut.ts";
import type { UnitMasks } from "../../surgery/kept.ts";
import { EspalierError } from "../../tensor/error.ts";
import { step } from "../../tensor/progress.ts";
import { latencyFeeds } from "../measuring/latency-feeds.ts";
import type { PruneOptions } from "../prune.ts";

/** Which units go, and which residual branches go as a whole. */
export interface Chosen {
  readonly masks: UnitMasks;
  readonly dropped: readonly DroppedGroup[];
}

/** What a target and a step of widths lead to. Throws `request` for a target that cannot be met. */
export type Select = (target: Target, roundTo: number) => Chosen;

/** How units are chosen. */
export interface Chooser {
  readonly select: Select;
  /**
   * Measures how long parts of the network take at several widths, where the choice can go by that. Gives what a share
   * of the whole network's `fullMs` leads to; that throws `request` where it cannot be met.
   */
  readonly timed?: (
    roundTo: number | "auto",
    fullMs: number,
    options: PruneOptions,
  ) => Promise<(share: number) => Chosen>;
}

/** Units by their scores. Groups that are alike keep as many as each other. */
export function byScores(
  analysis: Analysis,
  plan: UnitPlan,
  scores: ReadonlyMap<Group, Float64Array>,
  { profile, alike = [] }: Pick<UnitAllocationOptions, "profile" | "alike"> = {},
): Chooser {
  const own = { ...plan.allocation, alike, ...(profile === undefined ? {} : { profile }) };
  return {
    select: (target, roundTo) => ({
      masks: unitMasks(scores, allocateUnits(scores, analysis.coupling, analysis.cost, target, { ...own, roundTo })),
      dropped: [],
    }),
  };
}

/** Units, widths and branches together by what their removal costs after refitting. */
export function byError(analysis: Analysis, selector: Selector, plan: UnitPlan): Chooser {
  const { minKept } = plan.allocation;
  return {
    select: (target, roundTo) => selector.select(target, { roundTo, minKept }),
    timed: async (roundTo, fullMs, options) => {
      const feeds = await latencyFeeds(analysis, options.latencyBatch ?? 1);
      const groups = selector.curves.map(({ group }) => group);
      const times = await widthTimes({ ...options, analysis, feeds }, groups, ({ size }) =>
        widthsOf(size, roundTo, minKept),
      );
      const parts = [...times].reduce((sum, [{ size }, ms]) => sum + (ms.get(size) ?? 0), 0);
      // Parts that overlap take longer together than the whole; a share of nothing still asks for the least.
      return (share) => selector.selectWithin(times, parts - (1 - share) * Math.max(fullMs, parts));
    },
  };
}

/** The graph without what was chosen, before any repair of weights. */
async function without(analysis: Analysis, { masks, dropped }: Chosen): Promise<Graph> {
  const graph = await cut(analysis.graph, analysis.coupling, analysis.facts, masks);
  return dropBranches(graph, dropped, analysis.facts.types);
}

/** A median of fewer runs says little, however long they take. */
const FEWEST_RUNS = 8;

/**
 * Milliseconds of each candidate, measured in turn: the median, which the report shows too. `fullMs` is the original's,
 * where it is known.
 */
export async function timesOf(
  analysis: Analysis,
  candidates: readonly Chosen[],
  options: PruneOptions,
  fullMs = 0,
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
      { runs: 20, maxSeconds: Math.max(6, (FEWEST_RUNS * candidates.length * fullMs) / 1000) },
    );
    return measured.map(({ medianMs }) => medianMs);
  } finally {
    for (const session of sessions) await session.release();
  }
}

/** A coarse step can make a target unreachable that a finer one meets; then the coarse one is left out. */
export function reachable(chosen: () => Chosen): Chosen | null {
  try {
    return chosen();
  } catch (error) {
    if (error instanceof EspalierError && error.code === "request") return null;
    throw error;
  }
}
