import type { Analysis } from "../../models/analysis.ts";
import type { UnitPlan } from "../../plans/plan.ts";
import type { PruneOptions } from "../prune.ts";
import { type Chooser, type Chosen, reachable, timesOf } from "./chooser.ts";
import { withinLatency } from "./within-latency.ts";

/** Widths in multiples of these are compared; convolutions on x86 step by 16, matrix products hardly step. */
const STEPS = [1, 4, 8, 16] as const;

/** A coarser step must be this much faster to be worth the freedom it costs. */
const WORTH = 0.97;

/** Meets the plan's target, choosing the step of widths by measurement when asked to. */
export async function choose(
  analysis: Analysis,
  plan: UnitPlan,
  chooser: Chooser,
  options: PruneOptions,
): Promise<Chosen> {
  const { target } = plan;
  const { roundTo } = plan.allocation;
  if (target.kind === "latency") return withinLatency(analysis, chooser, target, roundTo, options);
  const { select } = chooser;
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
