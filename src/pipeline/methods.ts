import type { Target } from "../allocation/target.ts";
import { type UnitAllocationOptions, unitAllocationDefaults } from "../allocation/units.ts";
import type { Criterion, Statistic } from "../criteria/criterion.ts";
import { magnitude } from "../criteria/magnitude.ts";
import { groupDefaults, type UnitScoreOptions } from "../criteria/unit-scores.ts";
import type { Recovery } from "../recovery/recovery.ts";
import { EspalierError } from "../tensor/error.ts";
import type { UnitPlan } from "./plan.ts";

/** What is left or what goes; give one. */
export interface TargetOptions {
  readonly sparsity?: number | undefined;
  readonly keepMacs?: number | undefined;
  readonly keepParams?: number | undefined;
  readonly maxBytes?: number | undefined;
}

export interface StructuredOptions extends TargetOptions {
  readonly criterion?: Criterion<Statistic>;
  readonly scores?: Partial<UnitScoreOptions>;
  readonly scope?: UnitAllocationOptions["scope"];
  readonly roundTo?: number | "auto";
  readonly minKept?: number;
  readonly maxSparsity?: number;
  readonly recovery?: readonly Recovery[];
}

/** Reads the one target that was given. Throws `request` when there is none, several, or one out of range. */
export function targetOf(options: TargetOptions): Target {
  const targets: Target[] = [];
  if (options.sparsity !== undefined)
    targets.push({ kind: "sparsity", sparsity: share("--sparsity", options.sparsity) });
  if (options.keepMacs !== undefined) targets.push({ kind: "macs", keep: share("--keep-macs", options.keepMacs) });
  if (options.keepParams !== undefined)
    targets.push({ kind: "params", keep: share("--keep-params", options.keepParams) });
  if (options.maxBytes !== undefined) targets.push({ kind: "bytes", max: options.maxBytes });
  const [first, ...rest] = targets;
  if (first === undefined || rest.length > 0) {
    throw new EspalierError(
      "request",
      "target",
      `expected one target, got ${targets.length === 0 ? "none" : targets.map(({ kind }) => kind).join(" and ")}.`,
      "Give --sparsity, --keep-macs, --keep-params or --max-bytes.",
    );
  }
  return first;
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
    criterion: options.criterion ?? magnitude(2),
    scores: { ...groupDefaults, ...options.scores },
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
