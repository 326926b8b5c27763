import type { CostModel } from "../cost/cost.ts";
import { runningCost } from "../cost/running-cost.ts";
import { sizesAt, type UnitCounts } from "../cost/sizes-at.ts";
import type { Coupling, Group } from "../coupling/couple.ts";
import { meets, type Target } from "./target.ts";

/** What kept counts may take together. */
export interface Budget {
  holds(counts: UnitCounts): boolean;
  /** Starts at these counts. The function lets a group keep more where that still fits, and says whether it did. */
  filling(counts: UnitCounts): (group: Group, count: number) => boolean;
}

/** At most what a target leaves of the whole model. */
export function costBudget(coupling: Coupling, cost: CostModel, target: Exclude<Target, { kind: "sparsity" }>): Budget {
  const full = cost.total();
  return {
    holds: (counts) => meets(target, cost.total(sizesAt(coupling, counts)), full),
    filling: (counts) => {
      const running = runningCost(coupling, cost, counts);
      return (group, count) => {
        const fits = meets(target, running.with(group, count), full);
        if (fits) running.set(group, count);
        return fits;
      };
    },
  };
}

/** At most so many units in all groups together. */
export function unitBudget(most: number): Budget {
  return {
    holds: (counts) => unitsOf(counts) <= most,
    filling: (counts) => {
      const kept = new Map(counts);
      let total = unitsOf(counts);
      return (group, count) => {
        const next = total + (count - (kept.get(group) ?? group.size)) * group.sets;
        if (next > most) return false;
        total = next;
        kept.set(group, count);
        return true;
      };
    },
  };
}

/** Units that are kept, those of all sets together. */
export function unitsOf(counts: UnitCounts): number {
  let total = 0;
  for (const [group, count] of counts) total += count * group.sets;
  return total;
}
