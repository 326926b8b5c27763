import type { Analysis } from "../../models/analysis.ts";
import type { LatencyTarget } from "../../plans/plan.ts";
import { EspalierError } from "../../tensor/error.ts";
import { step } from "../../tensor/progress.ts";
import type { PruneOptions } from "../prune.ts";
import { type Chooser, type Chosen, reachable, timesOf } from "./chooser.ts";

/** Most candidates that are measured. */
const ROUNDS = 8;

/** What is measured must lie this far below the limit, so that the next measurement still does. */
const MARGIN = 0.98;

/** Nearer to the limit than this a search goes no further. */
const NEAR = 0.95;

/** Widths that a search by work alone keeps to multiples of. */
const BLIND_STEP = 16;

/** Everything stays. */
const whole: Chosen = { masks: new Map(), dropped: [] };

/**
 * The selection that loses least within a limit of time. What is asked for is a share of the time that parts of the network
 * were measured to take, or where there is no such table a share of the work; each try is measured in turns with the
 * original, since machines drift, and the next one asks for as much more or less as that says. Throws `request` with the
 * least time that is possible.
 */
export async function withinLatency(
  analysis: Analysis,
  chooser: Chooser,
  target: LatencyTarget,
  roundTo: number | "auto",
  options: PruneOptions,
): Promise<Chosen> {
  const [full = 0] = await timesOf(analysis, [whole], options);
  const limit = "keep" in target ? target.keep : target.maxMs / full;
  if (limit >= 1) return whole;
  const timed = await chooser.timed?.(roundTo, full, options);
  const width = roundTo === "auto" ? BLIND_STEP : roundTo;
  const ask = (share: number): Chosen | null =>
    reachable(() => timed?.(share) ?? chooser.select({ kind: "macs", keep: share }, width));
  const known = new Map<string, number>();
  const timeOf = async (chosen: Chosen): Promise<number> => {
    const key = describe(chosen);
    const seen = known.get(key);
    if (seen !== undefined) return seen;
    let time = await shareOfTime(analysis, chosen, options, full);
    // One lucky measurement is not enough.
    if (time <= limit * MARGIN) time = Math.max(time, await shareOfTime(analysis, chosen, options, full));
    known.set(key, time);
    return time;
  };

  let [low, high, share] = [0, 1, limit * MARGIN];
  let best: Chosen | null = null;
  for (let round = 0; round < ROUNDS; round++) {
    step(options, "search latency", round, ROUNDS, `asking for ${(100 * share).toFixed(0)} %`);
    const chosen = ask(share);
    if (chosen === null) {
      low = share;
      share = (low + high) / 2;
      continue;
    }
    const time = await timeOf(chosen);
    if (time <= limit * MARGIN) {
      best = chosen;
      low = share;
      if (time >= limit * NEAR) break;
    } else high = share;
    const next = (share * limit * MARGIN) / time;
    share = Math.min(high - (high - low) / 10, Math.max(low + (high - low) / 10, next));
  }
  step(options, "search latency", ROUNDS, ROUNDS);
  if (best !== null) return best;
  const least = await timeOf(leastOf(ask));
  const ms = (time: number): string => `${(time * full).toPrecision(3)} ms (${(100 * time).toFixed(1)} %)`;
  throw new EspalierError(
    "request",
    "keep" in target ? "--keep-latency" : "--max-latency",
    `expected a time that this model can reach, got ${"keep" in target ? target.keep : `${target.maxMs} ms`}.`,
    `The original took ${full.toPrecision(3)} ms; with as little left as this plan allows it takes ${ms(least)}.`,
  );
}

/** The selection that leaves least. */
function leastOf(ask: (share: number) => Chosen | null): Chosen {
  let [low, high] = [0, 1];
  let least = ask(0);
  for (let i = 0; i < 20 && low < high; i++) {
    const middle = (low + high) / 2;
    const chosen = ask(middle);
    if (chosen === null) low = middle;
    else {
      least = chosen;
      high = middle;
    }
  }
  return least ?? whole;
}

async function shareOfTime(analysis: Analysis, chosen: Chosen, options: PruneOptions, full: number): Promise<number> {
  const [before = 1, after = 1] = await timesOf(analysis, [whole, chosen], options, full);
  return after / before;
}

/** The same text for selections of the same widths. */
function describe({ masks, dropped }: Chosen): string {
  const kept = [...masks].map(([{ id }, mask]) => `${id} ${mask.reduce((sum, keep) => sum + keep, 0)}`);
  return [...kept, ...dropped.map(({ group }) => `${group.id} 0`)].sort().join("\n");
}
