import type { Target } from "../allocation/target.ts";
import { type UnitAllocationOptions, unitAllocationDefaults } from "../allocation/units.ts";
import type { Criterion, Statistic } from "../criteria/criterion.ts";
import { groupDefaults, type UnitScoreOptions } from "../criteria/unit-scores.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import type { Factors } from "../ops/factoring.ts";
import { biasCompensation } from "../recovery/bias.ts";
import { distill } from "../recovery/distill.ts";
import { finetune } from "../recovery/finetune.ts";
import { leastSquares } from "../recovery/lsq.ts";
import { normEstimation } from "../recovery/norm.ts";
import { lowRankUpdates, perp } from "../recovery/perp.ts";
import type { Recovery } from "../recovery/recovery.ts";
import type { BranchCriterion } from "../search/choose-branches.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import { forLabels, type Learning, retrainOptions } from "./learning.ts";
import type { BranchPlan, LatencyTarget, RankPlan, UnitPlan, WeightPlan } from "./plan.ts";

/** What is left or what goes; give one. */
export interface TargetOptions {
  readonly sparsity?: number | undefined;
  readonly keepMacs?: number | undefined;
  readonly keepParams?: number | undefined;
  readonly maxBytes?: number | undefined;
  /** Milliseconds of one run, measured. */
  readonly maxLatency?: number | undefined;
  /** Share of the original's time, measured in turns with it. */
  readonly keepLatency?: number | undefined;
}

export interface StructuredOptions extends TargetOptions {
  /** Which units; "head" takes heads of an attention, with all queries that share a key head, "query-head" single ones. */
  readonly granularity?: "channel" | "head" | "query-head";
  readonly criterion?: Criterion<Statistic>;
  readonly scores?: Partial<UnitScoreOptions>;
  /** "error" chooses widths, units and branches together by what removal costs after refitting; needs calibration. */
  readonly selection?: "scores" | "error";
  readonly scope?: UnitAllocationOptions["scope"];
  readonly roundTo?: number | "auto";
  readonly minKept?: number;
  readonly maxSparsity?: number;
  readonly recovery?: readonly Recovery[];
}

/** Reads the one target that was given. Throws `request` when there is none, several, or one out of range. */
function targetOf(options: TargetOptions): Target | LatencyTarget {
  const { sparsity, keepMacs, keepParams, maxBytes, maxLatency, keepLatency } = options;
  const targets: [flag: string, target: Target | LatencyTarget][] = [];
  const add = (flag: string, value: number | undefined, target: (value: number) => Target | LatencyTarget): void => {
    if (value !== undefined) targets.push([flag, target(value)]);
  };
  add("--sparsity", sparsity, (value) => ({ kind: "sparsity", sparsity: share("--sparsity", value) }));
  add("--keep-macs", keepMacs, (value) => ({ kind: "macs", keep: share("--keep-macs", value) }));
  add("--keep-params", keepParams, (value) => ({ kind: "params", keep: share("--keep-params", value) }));
  add("--max-bytes", maxBytes, (max) => ({ kind: "bytes", max }));
  add("--max-latency", maxLatency, (maxMs) => ({ kind: "latency", maxMs }));
  add("--keep-latency", keepLatency, (value) => ({ kind: "latency", keep: share("--keep-latency", value) }));
  const [[, first] = [], ...rest] = targets;
  if (first === undefined || rest.length > 0) {
    throw new EspalierError(
      "request",
      "target",
      `expected one target, got ${targets.length === 0 ? "none" : targets.map(([flag]) => flag).join(" and ")}.`,
      "Give --sparsity, --keep-macs, --keep-params, --max-bytes, --max-latency or --keep-latency.",
    );
  }
  return first;
}

/** The one target that was given, of those that are counted. Throws `request`. */
function countedTarget(options: TargetOptions): Target {
  const target = targetOf(options);
  if (target.kind !== "latency") return target;
  const hint = "Use --sparsity, --keep-macs, --keep-params or --max-bytes.";
  throw new EspalierError("request", "target", "expected a target that counts, got a latency.", hint);
}

function share(name: string, value: number): number {
  if (value >= 0 && value <= 1) return value;
  throw new EspalierError("request", name, `expected a fraction from 0 to 1, got ${value}.`);
}

/** Removes channels, neurons and heads for good; the magnitude of the coupled group decides unless told otherwise. */
export function structured(options: StructuredOptions): UnitPlan {
  const { scope, roundTo, minKept, maxSparsity } = { ...unitAllocationDefaults, ...defined(options) };
  return {
    kind: "units",
    units: options.granularity === "head" ? "heads" : options.granularity === "query-head" ? "query-heads" : "all",
    criterion: options.criterion ?? magnitude(2),
    scores: { ...groupDefaults, ...options.scores },
    selection: options.selection ?? "scores",
    target: targetOf(options),
    allocation: { scope, roundTo, minKept, maxSparsity },
    recovery: options.recovery ?? [],
  };
}

/** Leaves out what is undefined, so that it does not overrule a default. */
function defined(options: StructuredOptions): Partial<UnitPlan["allocation"]> {
  return {
    ...(options.scope === undefined ? {} : { scope: options.scope }),
    ...(options.roundTo === undefined ? {} : { roundTo: options.roundTo }),
    ...(options.minKept === undefined ? {} : { minKept: options.minKept }),
    ...(options.maxSparsity === undefined ? {} : { maxSparsity: options.maxSparsity }),
  };
}

export interface LayerOptions extends TargetOptions {
  readonly criterion?: BranchCriterion;
  /** What a branch gave on average over the calibration inputs takes its place. */
  readonly means?: boolean;
  readonly recovery?: readonly Recovery[];
}

/** Drops whole residual branches, those with the least block influence unless told otherwise. Throws `request`. */
export function layers({
  criterion = "influence",
  means = false,
  recovery = [],
  ...targets
}: LayerOptions): BranchPlan {
  const target = countedTarget(targets);
  return { kind: "branches", criterion: { id: criterion }, target, means, recovery };
}

export interface RankOptions extends TargetOptions {
  /** How kernels of convolutions are laid out as matrices. */
  readonly factors?: Factors;
  readonly prunable?: RankPlan["prunable"];
  readonly windows?: boolean;
  readonly recovery?: readonly Recovery[];
}

/** Takes layers apart into two of lower rank; all keep the same share of their energy. Throws `request`. */
export function ranks({ factors = "channel", prunable, windows, recovery = [], ...targets }: RankOptions): RankPlan {
  const target = countedTarget(targets);
  return {
    kind: "ranks",
    criterion: { id: "energy" },
    ...{ factors, target, recovery },
    ...(prunable === undefined ? {} : { prunable }),
    ...(windows === undefined ? {} : { windows }),
  };
}

export interface SparseOptions extends Partial<Omit<WeightPlan, "kind" | "pattern">> {
  /** "weight", "2:4" (keep 2 of 4 along the input axis), or "block:4x1" (output by input). */
  readonly granularity?: string;
}

/** Sets single weights, N:M patterns or blocks to zero; the file and the runtime gain nothing, compression does. */
export function sparse(options: SparseOptions): WeightPlan {
  const { granularity = "weight", ...rest } = options;
  const pattern = patternOf(granularity);
  const sparsity =
    pattern.kind === "n:m" ? 1 - pattern.keep / pattern.of : share("--sparsity", options.sparsity ?? 0.5);
  if (options.sparsity !== undefined && options.sparsity !== sparsity) {
    const message = `expected no share beside ${granularity}, got ${options.sparsity}.`;
    throw new EspalierError("request", "--sparsity", message, `${granularity} removes ${sparsity} by itself.`);
  }
  const scope = options.scope ?? "tensor";
  return {
    criterion: magnitude(1),
    profile: "uniform",
    recovery: [],
    ...rest,
    kind: "weights",
    pattern,
    scope,
    sparsity,
  };
}

/** Reads a granularity of weights. Throws `request` with the known forms. */
function patternOf(text: string): WeightPlan["pattern"] {
  if (text === "weight") return { kind: "element" };
  const ratio = /^(\d+):(\d+)$/.exec(text);
  if (ratio !== null) return { kind: "n:m", keep: Number(ratio[1]), of: Number(ratio[2]) };
  const block = /^block:(\d+)(?:x(\d+))?$/.exec(text);
  if (block !== null) {
    const rows = Number(block[1]);
    return { kind: "block", rows, columns: block[2] === undefined ? rows : Number(block[2]) };
  }
  throw new EspalierError(
    "request",
    `--granularity ${text}`,
    "expected channel, head, query-head, layer, rank, weight, a pattern such as 2:4, or a block such as block:4x1.",
  );
}

type MakeRecovery = (learning: Learning) => readonly Recovery[];

/** Every recovery by the name that the command line takes. */
export const recoveries: ReadonlyMap<string, MakeRecovery> = new Map<string, MakeRecovery>([
  ["none", () => []],
  ["norm", () => [normEstimation()]],
  ["bias", () => [biasCompensation()]],
  ["lsq", () => [leastSquares()]],
  ["distill", (learning) => [distill(retrainOptions(learning))]],
  ["finetune", (learning) => [finetune(retrainOptions(forLabels(learning)))]],
  ["lora", (learning) => [lowRankUpdates(retrainOptions(learning))]],
  ["perp", (learning) => [perp(retrainOptions(learning))]],
]);

/** One recovery, or several in turn as in `lsq+distill`. Throws `request` with the known ones. */
export function recoveryNamed(names: string, learning: Learning = {}): readonly Recovery[] {
  const chain = names.split("+").flatMap((name) => {
    const make = recoveries.get(name);
    if (make !== undefined) return make(learning);
    const known = [...recoveries.keys()].join(", ");
    const hint = didYouMean(name, recoveries.keys());
    throw new EspalierError(
      "request",
      `--recover ${name}`,
      `expected one of ${known}, or several as in lsq+distill.`,
      hint,
    );
  });
  const late = chain.findIndex(({ restores = false }, i) => restores && chain.slice(0, i).some(({ trains }) => trains));
  if (late < 0) return chain;
  const name = chain[late]?.id ?? "";
  const message = `expected ${name} before what trains: it gives layers the means that they had, which others have learnt to do without.`;
  throw new EspalierError("request", `--recover ${names}`, message, `Put ${name} first, or leave it out.`);
}
