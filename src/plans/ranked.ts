import type { Target } from "../allocation/target.ts";
import { unitAllocationDefaults } from "../allocation/units.ts";
import type { Criterion, Statistic } from "../criteria/criterion.ts";
import { groupDefaults, type UnitScoreOptions } from "../criteria/unit-scores.ts";
import type { UnitPlan, WeightPlan } from "./plan.ts";

/** Single weights by a criterion alone, from the whole model or the same share of each tensor. */
export function rankedWeights(
  criterion: Criterion<Statistic>,
  sparsity: number,
  scope: "global" | "tensor" = "global",
): WeightPlan {
  return {
    kind: "weights",
    ...{ criterion, scope, sparsity },
    pattern: { kind: "element" },
    profile: "uniform",
    recovery: [],
  };
}

/** Units by a criterion alone, from the whole model or the same share of each group. */
export function rankedUnits(
  criterion: Criterion<Statistic>,
  target: Target,
  scope: "global" | "group" = "global",
  scores: UnitScoreOptions = groupDefaults,
): UnitPlan {
  return {
    kind: "units",
    ...{ criterion, target, scores },
    allocation: { ...unitAllocationDefaults, scope },
    recovery: [],
  };
}
