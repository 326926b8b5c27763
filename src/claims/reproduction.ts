import type { Plan, UnitPlan, WeightPlan } from "../plans/plan.ts";
import type { SparseTraining } from "../sparsify/training/train-sparse.ts";
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
  /** Only at these of the comparison's shares; at all unless told. */
  readonly at?: Some<number>;
}

/**
 * What else a language model can be judged by: the loss on general text; and of what the original itself goes on with behind prompts,
 * the share that the model also writes, word for word, and the share that it finds likelier than other ways to go on, in points.
 */
export const furtherYardsticks = ["general loss", "written", "chosen"] as const;
export type FurtherYardstick = (typeof furtherYardsticks)[number];

/**
 * What arms are judged by: top-1 accuracy in points, or the mean negative log-likelihood in nats, where less is better and
 * a difference is how much less; or something further.
 */
export type Yardstick = "accuracy" | "loss" | FurtherYardstick;

/** True where less is better. */
export function isLoss(yardstick: Yardstick): boolean {
  return yardstick === "loss" || yardstick === "general loss";
}

/** Values of one arm in each draw by what was measured besides accuracy and loss. */
export type Further = Readonly<Partial<Record<FurtherYardstick, readonly number[]>>>;

/** What the paper leads one to expect: one arm better than another, by at least a margin in units of the yardstick. */
export interface Expectation {
  readonly better: string;
  readonly than: string;
  /** Shares removed at which it must hold. */
  readonly at: Some<number>;
  /** Negative for "not worse by more than". */
  readonly by: number;
  /** What both are judged by where it is not what the comparison is, or each of them; losses and points do not mix. */
  readonly in?: Yardstick | { readonly better: Yardstick; readonly than: Yardstick };
}

/** Arms at equal budgets. Random and global magnitude at the same budget always run beside them. */
export interface Comparison {
  /** What all arms lose the same share of: weights of what can be pruned; of the whole model, multiply-accumulates or parameters. */
  readonly budget: "weights" | "macs" | "params";
  /** Accuracy unless told. */
  readonly by?: "accuracy" | "loss";
  /** What is measured besides. */
  readonly further?: readonly FurtherYardstick[];
  /** What random and global magnitude choose from, where arms do not choose from everything. */
  readonly among?: Pick<WeightPlan, "prunable"> & Pick<UnitPlan, "units">;
  readonly removed: Some<number>;
  readonly arms: Readonly<Record<string, Arm>>;
  readonly expect: Some<Expectation>;
  /** Calibration inputs of each draw. */
  readonly calibration?: number;
}

/** A part of a network's way from its first parameters to what is judged. */
export type Phase =
  | {
      /** Trains. What phases before have removed stays so; nothing else goes unless a plan says so. */
      readonly kind: "train";
      readonly plan?: SparseTraining;
      /** Factor on the passes over the data; "as before": for the compute that all phases before took together. Default 1. */
      readonly length?: number | "as before";
      /** Factor on the rate of the lessons. */
      readonly rate?: number;
      /** The part of the lessons' schedule that it follows, as shares; all of it unless told. */
      readonly part?: readonly [from: number, until: number];
      /** An L1 penalty on the scales of norms: on all, or on those of the units that were chosen. */
      readonly shrink?: { readonly scales: "all" | "chosen"; readonly strength: number };
    }
  | {
      /** Prunes, looking at inputs of the training set with their labels where the plan needs them. */
      readonly kind: "prune";
      readonly plan: Plan;
      /** How many it looks at; 512 unless told. */
      readonly inputs?: number;
    }
  | {
      /** Draws all parameters anew, by the fans that the network has now. Masks stay. */
      readonly kind: "redraw";
      /** Every mask keeps its count and has its places drawn anew too. */
      readonly places?: boolean;
    }
  /** Chooses units as pruning by the plan would, and leaves them where they are. */
  | { readonly kind: "choose"; readonly plan: UnitPlan }
  /** Removes the units that were chosen last. */
  | { readonly kind: "cut" }
  /** Remembers the network as it is; "return" goes back to it. What was chosen stays chosen. */
  | { readonly kind: "mark" | "return" };

/** A contestant that trains: one sparse training, or phases in their order. `[prune, train]` prunes before training. */
export type TrainingArm = (at: {
  readonly removed: number;
  readonly seed: number;
}) => SparseTraining | readonly Phase[];

/**
 * Ways to make the testbed's network sparse or small on its way from its first parameters. All arms get the same first parameters,
 * order of data and lessons at a seed. A random choice before training and a cut by global magnitude halfway always run beside
 * them, and the latter for as long as each arm took that is expected to be better, by multiply-accumulates.
 */
export interface TrainingComparison {
  /** What all arms lose the same share of; weights unless told. */
  readonly budget?: "weights" | "macs";
  readonly removed: Some<number>;
  readonly arms: Readonly<Record<string, TrainingArm>>;
  readonly expect: Some<Expectation>;
  /** Passes over the data of one run; those of the testbed's lessons unless told. */
  readonly epochs?: number;
}

/** One arm at one budget over all draws; a single value where nothing in it is drawn. */
export interface Measurement {
  readonly arm: string;
  readonly removed: number;
  /** Share that really went, of what the budget counts. */
  readonly really: number;
  /** Share of the multiply-accumulates of a sample that is left where those by weights that are zero are skipped. */
  readonly macsLeft: number;
  /** Top-1 accuracy in percent, for each draw. */
  readonly accuracy: readonly number[];
  /** Mean negative log-likelihood of the labels in nats, for each draw. */
  readonly nll: readonly number[];
  readonly further?: Further;
  /** What one draw of the method cost, evaluation left out. */
  readonly cost: LedgerTotals;
}

/** One draw of an arm that was trained: a part of a measurement. */
export interface TrainedDraw extends Pick<Measurement, "really" | "macsLeft" | "cost"> {
  readonly accuracy: number;
  readonly nll: number;
  /** All of it, testing included. */
  readonly seconds: number;
}

/** An expectation against what was measured. */
export interface Check {
  readonly expectation: Expectation;
  readonly removed: number;
  /** Mean difference in units of the yardstick, over paired draws; positive where the better arm is better. */
  readonly difference: number;
  /** 95 % interval of the mean over draws; null for fewer than two. */
  readonly interval: Interval | null;
  /** Draws in which the better arm was better. */
  readonly wins: number;
  readonly draws: number;
  readonly holds: boolean;
}

/** What an arm does that prunes before it trains. */
export const beforeTraining = (plan: Plan): readonly Phase[] => [{ kind: "prune", plan }, { kind: "train" }];

/** The arm from which nothing is removed, at every share; in comparisons of trainings it is trained once. */
export const dense = "dense";

/** How the arm is called that is cut by global magnitude halfway and trained with the compute of another arm. */
export function asLongAs(arm: string): string {
  return `global magnitude, as long as ${arm}`;
}

export type Verdict = "reproduced" | "partly" | "not at this scale";

/** What a reproduction found. */
export interface Findings {
  readonly testbed: string;
  readonly setting: string;
  readonly dense: {
    readonly accuracy: number;
    readonly nll: number;
    readonly samples: number;
    readonly further?: Further;
  };
  readonly budget: Comparison["budget"];
  readonly by: "accuracy" | "loss";
  readonly measurements: readonly Measurement[];
  readonly checks: readonly Check[];
  /** Arms that are expected to be better, beside global magnitude with their compute; the verdict does not look at it. */
  readonly controls: readonly Check[];
  readonly verdict: Verdict;
  readonly seconds: number;
}

/** Where reproductions run: a testbed, a runtime and draws. Papers say what to compare; the bench does the work. */
export interface Bench {
  compare(comparison: Comparison): Promise<Findings>;
  /** Trains all arms from nothing. Throws `request` on a testbed whose model is not trained here. */
  train(comparison: TrainingComparison): Promise<Findings>;
}

/** All hold: reproduced; some: partly; none: not at this scale. */
export function verdictOf(checks: readonly Pick<Check, "holds">[]): Verdict {
  const held = checks.filter(({ holds }) => holds).length;
  if (held === 0) return "not at this scale";
  return held === checks.length ? "reproduced" : "partly";
}
