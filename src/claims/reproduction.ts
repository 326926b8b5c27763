import type { Plan } from "../pipeline/plan.ts";
import type { Interval } from "../tensor/statistics.ts";
import type { LedgerTotals } from "./ledger.ts";
import type { Some } from "./record.ts";

/** Where an arm's calibration inputs come from. */
export type Draw = "calibration" | "noise";

/** One contestant: the plan that removes a share, drawn with a seed. */
export interface Arm {
  readonly plan: (at: { readonly removed: number; readonly seed: number }) => Plan;
  /** Default: calibration inputs of the testbed. */
  readonly data?: Draw;
}

/** What the paper leads one to expect: one arm above another, by at least a margin in points of the metric. */
export interface Expectation {
  readonly better: string;
  readonly than: string;
  /** Shares removed at which it must hold. */
  readonly at: Some<number>;
  /** Negative for "not worse by more than". */
  readonly by: number;
}

/** Arms at equal budgets. Random and global magnitude at the same budget always run beside them. */
export interface Comparison {
  /** What all arms lose the same share of: weights, or multiply-accumulates. */
  readonly budget: "weights" | "macs";
  readonly removed: Some<number>;
  readonly arms: Readonly<Record<string, Arm>>;
  readonly expect: Some<Expectation>;
  /** Calibration inputs of each draw. */
  readonly calibration?: number;
}

/** One arm at one budget over all draws; a single value where nothing in it is drawn. */
export interface Measurement {
  readonly arm: string;
  readonly removed: number;
  /** Share that really went, of what the budget counts. */
  readonly really: number;
  /** Top-1 accuracy in percent, for each draw. */
  readonly accuracy: readonly number[];
  /** Mean negative log-likelihood of the labels in nats, for each draw. */
  readonly nll: readonly number[];
  /** What one draw of the method cost, evaluation left out. */
  readonly cost: LedgerTotals;
}

/** An expectation against what was measured. */
export interface Check {
  readonly expectation: Expectation;
  readonly removed: number;
  /** Mean difference in points, over paired draws. */
  readonly difference: number;
  /** 95 % interval of the mean over draws; null for fewer than two. */
  readonly interval: Interval | null;
  /** Draws in which the better arm was above. */
  readonly wins: number;
  readonly draws: number;
  readonly holds: boolean;
}

export type Verdict = "reproduced" | "partly" | "not at this scale";

/** What a reproduction found. */
export interface Findings {
  readonly testbed: string;
  readonly setting: string;
  readonly dense: { readonly accuracy: number; readonly nll: number; readonly samples: number };
  readonly budget: Comparison["budget"];
  readonly measurements: readonly Measurement[];
  readonly checks: readonly Check[];
  readonly verdict: Verdict;
  readonly seconds: number;
}

/** Where reproductions run: a testbed, a runtime and draws. Papers say what to compare; the bench does the work. */
export interface Bench {
  compare(comparison: Comparison): Promise<Findings>;
}

/** All hold: reproduced; some: partly; none: not at this scale. */
export function verdictOf(checks: readonly Pick<Check, "holds">[]): Verdict {
  const held = checks.filter(({ holds }) => holds).length;
  if (held === 0) return "not at this scale";
  return held === checks.length ? "reproduced" : "partly";
}
