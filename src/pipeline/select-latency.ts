import type { Graph } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Latency, Runtime } from "../runtime/runtime.ts";
import type { Selection, SelectionOptions, Selector } from "../search/select-units.ts";
import { dropBranches } from "../surgery/bypass.ts";
import { cut } from "../surgery/cut.ts";
import { EspalierError } from "../tensor/error.ts";
import { type Job, step } from "../tensor/progress.ts";
import { latencyFeeds } from "./latency-feeds.ts";

export interface LatencyTarget {
  /** Share of the original's measured time that may remain. */
  readonly share: number;
  /** Samples in the batch that is timed. */
  readonly batch: number;
  /** Times that a model is run for one measurement. */
  readonly runs?: number;
  /** Measurements before the search settles. */
  readonly rounds?: number;
}

export interface Timed {
  readonly selection: Selection;
  readonly graph: Graph;
  /** Measured in turns in the same minutes. */
  readonly before: Latency;
  readonly after: Latency;
  /** Share of the MACs that remain: they are not time. */
  readonly macs: number;
}

/** What is measured must lie this far below the target, so that the next measurement still does. */
const MARGIN = 0.98;

/** The smaller graph of a selection: units cut, branches dropped. */
export async function applySelection(analysis: Analysis, selection: Selection): Promise<Graph> {
  const small = await cut(analysis.graph, analysis.coupling, analysis.facts, selection.masks);
  return dropBranches(small, selection.dropped, analysis.facts.types);
}

/**
 * The selection that keeps most MACs among those whose measured time meets the target, by bisection: each candidate runs
 * in turns with the original. Throws `request` with the best that was measured where none does.
 */
export async function selectForLatency(
  runtime: Runtime,
  analysis: Analysis,
  selector: Selector,
  target: LatencyTarget,
  options: Partial<SelectionOptions> & Job = {},
): Promise<Timed> {
  const { share, batch, runs = 15, rounds = 7 } = target;
  const feeds = await latencyFeeds(analysis, batch);
  const original = await runtime.compile(analysis.graph);
  const measure = async (keep: number): Promise<Timed> => {
    const selection = selector.select({ kind: "macs", keep }, { roundTo: 16, ...options });
    const graph = await applySelection(analysis, selection);
    const session = await runtime.compile(graph);
    try {
      const sessions = [original, session].map((each) => ({ session: each, feeds }));
      const [before, after] = await runtime.measure(sessions, { runs, maxSeconds: 20 });
      if (before === undefined || after === undefined) throw new Error("measure gives one result for each session");
      return { selection, graph, before, after, macs: keep };
    } finally {
      await session.release();
    }
  };
  let low = 0;
  let high = 1;
  let best: Timed | null = null;
  let fastest: Timed | null = null;
  try {
    for (let round = 0; round < rounds; round++) {
      // Time hardly ever falls as far as MACs do: start near the share.
      const keep = round === 0 ? Math.min(0.95, share) : (low + high) / 2;
      step(options, "measure", round, rounds, `${(100 * keep).toFixed(0)} % of the MACs`);
      const timed = await reachable(() => measure(keep));
      if (timed === null) {
        low = keep;
        continue;
      }
      const left = ratio(timed);
      if (fastest === null || left < ratio(fastest)) fastest = timed;
      if (left <= share * MARGIN) {
        low = keep;
        best = timed;
      } else high = keep;
    }
  } finally {
    await original.release();
  }
  if (best !== null) return best;
  const measured = fastest === null ? "none could be measured" : `the fastest took ${ratio(fastest).toFixed(2)} of it`;
  throw new EspalierError(
    "request",
    "--max-latency",
    `expected ${share} of the original's time, ${measured}.`,
    "Ask for more time, or allow more: --round-to 1, fewer --ignore.",
  );
}

function ratio({ before, after }: Timed): number {
  return after.medianMs / before.medianMs;
}

/** A target below what is left with the least of every group is too small, not wrong. */
async function reachable(work: () => Promise<Timed>): Promise<Timed | null> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof EspalierError && error.code === "request") return null;
    throw error;
  }
}
