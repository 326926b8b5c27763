import type { Preset } from "../allocation/prunable.ts";
import type { Target } from "../allocation/target.ts";
import type { UnitAllocationOptions } from "../allocation/units.ts";
import type { Criterion, Statistic } from "../criteria/criterion.ts";
import type { UnitScoreOptions } from "../criteria/unit-scores.ts";
import type { Factors } from "../ops/factoring.ts";
import type { Recovery } from "../recovery/recovery.ts";
import type { BranchCriterion, ChoiceOptions } from "../search/choose-branches.ts";
import type { SweepOptions } from "../sparsify/sweep/sweep.ts";
import type { InfluenceOptions } from "../stats/branches.ts";
import type { WeightAllocator } from "./allocator.ts";

/** At most this many milliseconds, or this share of the original's time, measured; the rest follows. */
export type LatencyTarget =
  | { readonly kind: "latency"; readonly maxMs: number }
  | { readonly kind: "latency"; readonly keep: number };

/** What a pruning may begin with. */
interface Preceded {
  /**
   * Another pruning of the same model, carried out first. Targets that are shares of work or parameters count both together, of the
   * original.
   */
  readonly before?: Plan;
}

/** How the importance of blocks decides how much their units lose. */
export interface CoarseOptions extends Pick<InfluenceOptions, "distance"> {
  /** Factor on the differences between blocks; 0 gives all the same share. */
  readonly strength: number;
}

/** Removes units (channels, neurons, heads) for good. */
export interface UnitPlan extends Preceded {
  readonly kind: "units";
  /**
   * Which units: all; those that are heads of an attention, key and value heads with their queries or query heads; neurons and
   * channels that lie inside residual branches and in no head; "inner": these and heads.
   */
  readonly units?: "all" | "heads" | "query-heads" | "neurons" | "inner";
  readonly criterion: Criterion<Statistic>;
  readonly scores: UnitScoreOptions;
  /** "scores": the criterion ranks units; "error": widths, units and branches by what removal costs after refitting. */
  readonly selection?: "scores" | "error";
  readonly target: Target | LatencyTarget;
  /** "auto" measures widths in multiples of several numbers and takes the fastest. */
  readonly allocation: Omit<UnitAllocationOptions, "roundTo"> & { readonly roundTo: number | "auto" };
  /** Blocks (an attention and its MLP) that turn what passes them more keep a larger share; scope "group" only. */
  readonly coarse?: CoarseOptions;
  /** Units that were chosen before, by group, 1 keeps: criterion and target then decide nothing. */
  readonly given?: ReadonlyMap<string, Uint8Array>;
  readonly recovery: readonly Recovery[];
}

/** Removes whole residual branches, the fewest that meet the target unless told to round down. */
export interface BranchPlan extends ChoiceOptions, Preceded {
  readonly kind: "branches";
  readonly criterion: { readonly id: BranchCriterion } & Partial<InfluenceOptions>;
  /** Branches behind each other that go together: 2 are an attention and its MLP, a block of a transformer. Default 1. */
  readonly span?: number;
  readonly target: Target;
  /** What a branch gave on average takes its place. */
  readonly means: boolean;
  readonly recovery: readonly Recovery[];
}

/** Sets single weights to zero; the file keeps its size and the runtime its speed. */
export interface WeightPlan extends Preceded {
  readonly kind: "weights";
  readonly criterion: Criterion<Statistic>;
  readonly pattern:
    | { readonly kind: "element" }
    | { readonly kind: "n:m"; readonly keep: number; readonly of: number; readonly rest?: "misfit" | "shorter" }
    | { readonly kind: "block"; readonly rows: number; readonly columns: number };
  /** The set inside which weights compete. */
  readonly scope: "row" | "tensor" | "global";
  /** How much each tensor loses when the scope is smaller than the model. */
  readonly profile: "uniform" | "erk" | "lamp";
  readonly sparsity: number;
  /** Which matrices take part; all unless told. */
  readonly prunable?: Preset;
  /** Share of all weights that each tensor keeps at least under a global scope. */
  readonly floor?: number;
  /** Sparsity of single tensors, by name. */
  readonly table?: ReadonlyMap<string, number>;
  /** Measures the model to make that table. */
  readonly allocator?: WeightAllocator;
  /**
   * What stays makes up for what goes, column by column (SparseGPT): "choose" lets the sweep choose inside each block of
   * columns, whatever the criterion; "refit" keeps the criterion's choice.
   */
  readonly sweep?: "choose" | "refit";
  /** How the sweep goes through the columns. */
  readonly sweeping?: Pick<SweepOptions, "blockSize" | "order" | "damping">;
  /**
   * Steps in which the share is reached, each of which measures and scores anew what is left; densities fall as powers (SynFlow, FORCE).
   * Default 1.
   */
  readonly rounds?: number;
  readonly recovery: readonly Recovery[];
}

/** Takes layers apart into two of lower rank. */
export interface RankPlan extends Preceded {
  readonly kind: "ranks";
  readonly criterion: { readonly id: "energy" };
  readonly factors: Factors;
  readonly target: Target;
  /** Which matrices take part; all unless told. */
  readonly prunable?: Preset;
  /** Only kernels with more than one position, where true. */
  readonly windows?: boolean;
  readonly recovery: readonly Recovery[];
}

/** What a method does, fully resolved: every number that decides the result is in it. */
export type Plan = UnitPlan | BranchPlan | WeightPlan | RankPlan;
