import type { CostModel } from "../cost/cost.ts";
import { sizesAt, type UnitCounts } from "../cost/sizes-at.ts";
import type { Alike } from "../coupling/alike.ts";
import { type Coupling, type Group, unitCount } from "../coupling/couple.ts";
import { growGreedily } from "../solve/greedy.ts";
import { countOf } from "../tensor/selection/select.ts";
import { type Budget, costBudget, unitBudget, unitsOf } from "./budget.ts";
import { type Target, unreachable } from "./target.ts";

export interface UnitAllocationOptions {
  /** "group": the same fraction of each group; "global": units of all groups compete by score. */
  readonly scope: "group" | "global";
  /** Kept counts are multiples of this where the group allows it. */
  readonly roundTo: number;
  /** Least number of units that a group keeps. */
  readonly minKept: number;
  /** Largest fraction that any group may lose. */
  readonly maxSparsity: number;
  /**
   * What each group keeps where all together keep a share, for the scope "group"; the same share unless told. Groups that it does not
   * name keep that share.
   */
  readonly profile?: (kept: number) => ReadonlyMap<Group, number>;
  /** Groups that keep as many as each other, and how many they may keep; others go by `roundTo`. */
  readonly alike?: readonly Alike[];
}

export const unitAllocationDefaults: UnitAllocationOptions = {
  scope: "group",
  roundTo: 1,
  minKept: 1,
  maxSparsity: 1,
};

/**
 * Decides how many units each group keeps: one strength for all groups, the least at which the target is met. With free
 * widths that is all, so that a smaller target takes what a larger one takes and more. Rounded widths of groups of a size
 * step together; there the room that is left is given back in single steps of single groups, until not one more step of
 * any group fits: "group" gives first to the group that keeps the smallest share, "global" to the one whose units score
 * best. Groups that are alike keep what they would keep on average, and step together. Throws `request` with the nearest
 * possible value where no counts meet the target; a sparsity that is out of reach leaves as little as widths allow.
 */
export function allocateUnits(
  scores: ReadonlyMap<Group, Float64Array>,
  coupling: Coupling,
  cost: CostModel,
  target: Target,
  options: UnitAllocationOptions,
): UnitCounts {
  const countsAt = options.scope === "group" ? uniformCounts(scores, options) : globalCounts(scores, options);
  const { alike = [] } = options;
  const counts = (strength: number): UnitCounts => aligned(countsAt(strength, options.roundTo), alike);
  const isFree = options.roundTo <= 1 && alike.length === 0;
  const whole = new Map([...scores.keys()].map((group) => [group, group.size]));
  let budget: Budget;
  if (target.kind === "sparsity") {
    const free = countsAt(target.sparsity, 1);
    if (isFree) return free;
    budget = unitBudget(unitsOf(free));
    if (!budget.holds(counts(1))) return counts(1);
  } else {
    budget = costBudget(coupling, cost, target);
    const least = counts(1);
    if (!budget.holds(whole) && !budget.holds(least)) {
      throw unreachable(target, cost.total(sizesAt(coupling, least)), cost.total());
    }
  }
  if (budget.holds(whole)) return whole;
  let low = 0;
  let high = 1;
  for (let step = 0; step < 30 && high - low > 1e-6; step++) {
    const middle = (low + high) / 2;
    if (budget.holds(counts(middle))) high = middle;
    else low = middle;
  }
  return isFree ? counts(high) : filled(counts(high), scores, budget, options);
}

/** Groups that are alike keep what they keep on average, or the nearest number to it that they may; the smaller of two. */
function aligned(counts: UnitCounts, alike: readonly Alike[]): UnitCounts {
  const out = new Map(counts);
  for (const { groups, counts: allowed } of alike) {
    const here = groups.filter((group) => counts.has(group));
    const mean = here.reduce((sum, group) => sum + (counts.get(group) ?? 0), 0) / Math.max(1, here.length);
    const wanted = Math.round(mean);
    let nearest = allowed[0];
    for (const count of allowed) {
      if (nearest === undefined || Math.abs(count - wanted) < Math.abs(nearest - wanted)) nearest = count;
    }
    for (const group of here) out.set(group, nearest ?? group.size);
  }
  return out;
}

/** Gives back steps, one at a time, while they fit into the budget: those of groups that are alike at once. */
function filled(
  counts: UnitCounts,
  scores: ReadonlyMap<Group, Float64Array>,
  budget: Budget,
  { scope, roundTo, alike = [] }: UnitAllocationOptions,
): UnitCounts {
  const kept = new Map([...scores.keys()].map((group) => [group, counts.get(group) ?? group.size]));
  const best = new Map([...scores].map(([group, own]) => [group, ranked(group, own).sort().reverse()]));
  const fill = budget.filling(counts);
  const steps = stepsOf([...scores.keys()], roundTo, alike);
  const nowOf = ({ groups }: Stepping): number => kept.get(groups[0]) ?? 0;
  growGreedily({
    count: steps.length,
    worth: (i) => {
      const step = steps[i];
      if (step === undefined) return null;
      const { groups, next } = step;
      const now = nowOf(step);
      const to = next(now);
      if (to <= now) return null;
      let score = 0;
      for (const group of groups) {
        for (let unit = now; unit < to; unit++) score += best.get(group)?.[unit] ?? 0;
      }
      score /= (to - now) * groups.length;
      return scope === "group" ? [-now / groups[0].size, score] : [score];
    },
    take: (i) => {
      const step = steps[i];
      if (step === undefined) return false;
      const now = nowOf(step);
      const to = step.next(now);
      const taken: Group[] = [];
      for (const group of step.groups) {
        if (!fill(group, to)) break;
        taken.push(group);
      }
      const fits = taken.length === step.groups.length;
      for (const group of taken) {
        if (fits) kept.set(group, to);
        else fill(group, now);
      }
      return fits;
    },
  });
  return kept;
}

/** Groups that step together. */
interface Stepping {
  readonly groups: readonly [Group, ...Group[]];
  /** The next number above what they keep; the same where there is none. */
  next(kept: number): number;
}

function stepsOf(groups: readonly Group[], roundTo: number, alike: readonly Alike[]): readonly Stepping[] {
  const found: Stepping[] = [];
  const taken = new Set<Group>();
  for (const { groups: together, counts } of alike) {
    const [first, ...rest] = together.filter((group) => groups.includes(group));
    if (first === undefined) continue;
    for (const group of [first, ...rest]) taken.add(group);
    found.push({ groups: [first, ...rest], next: (kept) => counts.find((count) => count > kept) ?? kept });
  }
  for (const group of groups) {
    if (!taken.has(group)) found.push({ groups: [group], next: (kept) => widen(group, kept, roundTo) });
  }
  return found;
}

/** The next width above `kept`: a multiple of `roundTo`, or all that the group has. */
export function widen({ size }: Pick<Group, "size">, kept: number, roundTo: number): number {
  const step = Math.max(1, roundTo);
  return Math.min(size, (Math.floor(kept / step) + 1) * step);
}

function clamp(group: Group, kept: number, roundTo: number, options: UnitAllocationOptions): number {
  const least = Math.max(options.minKept, Math.ceil(group.size * (1 - options.maxSparsity)));
  const wanted = Math.max(kept, Math.min(least, group.size));
  if (roundTo <= 1 || group.size <= roundTo) return wanted;
  const rounded = Math.max(roundTo, Math.round(wanted / roundTo) * roundTo);
  return Math.min(group.size, rounded);
}

function uniformCounts(
  scores: ReadonlyMap<Group, Float64Array>,
  options: UnitAllocationOptions,
): (strength: number, roundTo: number) => UnitCounts {
  return (strength, roundTo) => {
    const kept = options.profile?.(1 - strength);
    return new Map(
      [...scores.keys()].map((g) => {
        const own = kept?.get(g);
        const removed = countOf(own === undefined ? strength : Math.min(1, Math.max(0, 1 - own)), g.size);
        return [g, clamp(g, g.size - removed, roundTo, options)];
      }),
    );
  };
}

function globalCounts(
  scores: ReadonlyMap<Group, Float64Array>,
  options: UnitAllocationOptions,
): (strength: number, roundTo: number) => UnitCounts {
  const groups = [...scores.keys()];
  let total = 0;
  for (const group of groups) total += group.size;
  const all = new Float64Array(total);
  const owner = new Int32Array(total);
  let next = 0;
  for (const [index, group] of groups.entries()) {
    all.set(ranked(group, scores.get(group)), next);
    owner.fill(index, next, next + group.size);
    next += group.size;
  }
  const order = Int32Array.from(all.keys()).sort((a, b) => (all[a] ?? 0) - (all[b] ?? 0) || a - b);
  return (strength, roundTo) => {
    const removed = new Int32Array(groups.length);
    for (let i = 0; i < countOf(strength, total); i++) {
      const group = owner[order[i] ?? 0] ?? 0;
      removed[group] = (removed[group] ?? 0) + 1;
    }
    return new Map(groups.map((group, i) => [group, clamp(group, group.size - (removed[i] ?? 0), roundTo, options)]));
  };
}

/**
 * What the group's units are worth in a comparison with other groups: since each set loses as many, one number for the
 * least unit of all sets, one for the second, and so on: their means. [size]
 */
function ranked(group: Group, scores: Float64Array = new Float64Array(unitCount(group))): Float64Array {
  if (group.sets === 1) return scores.slice();
  const out = new Float64Array(group.size);
  for (let set = 0; set < group.sets; set++) {
    const own = scores.slice(set * group.size, (set + 1) * group.size).sort();
    for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) + (own[i] ?? 0) / group.sets;
  }
  return out;
}
