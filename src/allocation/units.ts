import type { AxisSize, CostModel } from "../cost/cost.ts";
import { type Coupling, type Group, unitCount } from "../coupling/couple.ts";
import { countOf } from "../tensor/select.ts";
import { meets, type Target, unreachable } from "./target.ts";

/** How many units each group keeps in each of its sets. */
export type UnitCounts = ReadonlyMap<Group, number>;

export interface UnitAllocationOptions {
  /** "group": the same fraction of each group; "global": units of all groups compete by score. */
  readonly scope: "group" | "global";
  /** Kept counts are multiples of this where the group allows it. */
  readonly roundTo: number;
  /** Least number of units that a group keeps. */
  readonly minKept: number;
  /** Largest fraction that any group may lose. */
  readonly maxSparsity: number;
}

export const unitAllocationDefaults: UnitAllocationOptions = {
  scope: "group",
  roundTo: 1,
  minKept: 1,
  maxSparsity: 1,
};

/** Sizes of axes when groups keep the given counts. */
export function sizesAt(coupling: Coupling, counts: UnitCounts): AxisSize {
  const byLeaf = new Map([...counts].map(([group, count]) => [group.leaf, count]));
  const memo = new Map<object, number>();
  return (value, axis) => {
    const term = coupling.axes(value)?.[axis];
    if (term === undefined) return undefined;
    let size = memo.get(term);
    if (size === undefined) {
      size = coupling.count(term, (leaf) => byLeaf.get(leaf) ?? leaf.size);
      memo.set(term, size);
    }
    return size;
  };
}

/**
 * Decides how many units each group keeps: the largest model that meets the target. Throws `request` with the nearest
 * possible value when none does.
 */
export function allocateUnits(
  scores: ReadonlyMap<Group, Float64Array>,
  coupling: Coupling,
  cost: CostModel,
  target: Target,
  options: UnitAllocationOptions,
): UnitCounts {
  const counts = options.scope === "group" ? uniformCounts(scores, options) : globalCounts(scores, options);
  if (target.kind === "sparsity") return counts(target.sparsity);
  const full = cost.total();
  const at = (strength: number) => cost.total(sizesAt(coupling, counts(strength)));
  if (meets(target, full, full)) return counts(0);
  if (!meets(target, at(1), full)) throw unreachable(target, at(1), full);
  let low = 0;
  let high = 1;
  for (let step = 0; step < 30 && high - low > 1e-6; step++) {
    const middle = (low + high) / 2;
    if (meets(target, at(middle), full)) high = middle;
    else low = middle;
  }
  return counts(high);
}

function clamp(group: Group, kept: number, options: UnitAllocationOptions): number {
  const least = Math.max(options.minKept, Math.ceil(group.size * (1 - options.maxSparsity)));
  const wanted = Math.max(kept, Math.min(least, group.size));
  if (options.roundTo <= 1 || group.size <= options.roundTo) return wanted;
  const rounded = Math.max(options.roundTo, Math.round(wanted / options.roundTo) * options.roundTo);
  return Math.min(group.size, rounded);
}

function uniformCounts(
  scores: ReadonlyMap<Group, Float64Array>,
  options: UnitAllocationOptions,
): (strength: number) => UnitCounts {
  return (strength) =>
    new Map([...scores.keys()].map((g) => [g, clamp(g, g.size - countOf(strength, g.size), options)]));
}

function globalCounts(
  scores: ReadonlyMap<Group, Float64Array>,
  options: UnitAllocationOptions,
): (strength: number) => UnitCounts {
  const groups = [...scores.keys()];
  let total = 0;
  for (const group of groups) total += group.size;
  const all = new Float64Array(total);
  const owner = new Int32Array(total);
  let next = 0;
  for (const [index, group] of groups.entries()) {
    all.set(ranked(group, scores.get(group) ?? new Float64Array(unitCount(group))), next);
    owner.fill(index, next, next + group.size);
    next += group.size;
  }
  const order = Int32Array.from(all.keys()).sort((a, b) => (all[a] ?? 0) - (all[b] ?? 0) || a - b);
  return (strength) => {
    const removed = new Int32Array(groups.length);
    for (let i = 0; i < countOf(strength, total); i++) {
      const group = owner[order[i] ?? 0] ?? 0;
      removed[group] = (removed[group] ?? 0) + 1;
    }
    return new Map(groups.map((group, i) => [group, clamp(group, group.size - (removed[i] ?? 0), options)]));
  };
}

/**
 * What the group's units are worth in a comparison with other groups: since each set loses as many, one number for the
 * least unit of all sets, one for the second, and so on: their means. [size]
 */
function ranked(group: Group, scores: Float64Array): Float64Array {
  if (group.sets === 1) return scores;
  const out = new Float64Array(group.size);
  for (let set = 0; set < group.sets; set++) {
    const own = scores.slice(set * group.size, (set + 1) * group.size).sort();
    for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) + (own[i] ?? 0) / group.sets;
  }
  return out;
}
