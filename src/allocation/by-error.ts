import { sizesAt, type UnitCounts } from "../cost/sizes-at.ts";
import { type Group, unitCount } from "../coupling/couple.ts";
import type { ErrorCurve } from "../criteria/inputs/error-curves.ts";
import type { Analysis } from "../models/analysis.ts";
import { type Choice, multipleChoice } from "../solve/multiple-choice.ts";
import { meets, type Target, unreachable } from "./target.ts";

export interface ByErrorOptions {
  /** Kept counts are multiples of this where the group is larger. */
  readonly roundTo: number;
  readonly minKept: number;
  /** Groups whose units may all go, because something leads past them. */
  readonly droppable: ReadonlySet<Group>;
  /** What it costs the network that the first `removed` units of a curve are gone. */
  readonly loss: (curve: ErrorCurve, removed: number) => number;
}

const byErrorDefaults: ByErrorOptions = {
  roundTo: 1,
  minKept: 1,
  droppable: new Set(),
  loss: ({ error, whole }, removed) => (whole > 0 ? (error[removed] ?? 0) / whole : 0),
};

/**
 * Kept counts of all groups together such that the sum of their errors is least and the target is met: a multiple-choice
 * knapsack. Costs add up exactly where no two groups share a matrix; else the budget shrinks until the true cost fits.
 * Throws `request` where the target cannot be met.
 */
export function countsByError(
  analysis: Analysis,
  curves: readonly ErrorCurve[],
  target: Target,
  options: Partial<ByErrorOptions> = {},
): UnitCounts {
  const { roundTo, minKept, droppable, loss } = { ...byErrorDefaults, ...options };
  const { cost, coupling } = analysis;
  const full = cost.total();
  if (target.kind === "sparsity") return evenCounts(curves, target.sparsity, { roundTo, minKept, loss });
  const measure = { macs: "macs", params: "params", bytes: "bytes" } as const;
  const unit = measure[target.kind];
  const limit = target.kind === "bytes" ? target.max : target.keep * full[unit];
  const kept = curves.map(({ group }) => widths(group.size, roundTo, minKept, droppable.has(group)));
  const choices = curves.map((curve, i) =>
    (kept[i] ?? []).map((count): Choice => {
      const saved = full[unit] - cost.total(sizesAt(coupling, new Map([[curve.group, count]])))[unit];
      return { cost: -saved, loss: loss(curve, curve.group.size - count) };
    }),
  );
  const pick = (budget: number): UnitCounts => {
    const { picks } = multipleChoice(choices, budget);
    return new Map(curves.map(({ group }, i) => [group, kept[i]?.[picks[i] ?? 0] ?? group.size]));
  };
  const floor = choices.reduce((sum, list) => sum + Math.min(...list.map((choice) => choice.cost)), 0);
  const least = new Map(curves.map(({ group }, i) => [group, Math.min(...(kept[i] ?? [group.size]))]));
  let smallest = cost.total(sizesAt(coupling, least));
  if (!meets(target, smallest, full)) throw unreachable(target, smallest, full);
  let budget = Math.max(floor, limit - full[unit]);
  for (let round = 0; round < 40; round++) {
    const counts = pick(budget);
    smallest = cost.total(sizesAt(coupling, counts));
    if (meets(target, smallest, full)) return counts;
    if (budget <= floor) break;
    budget = Math.max(floor, budget - Math.max(1, smallest[unit] - limit));
  }
  return least;
}

/**
 * The same share of each group, in the widths that it may have: the next below or above, whichever together lose least and keep
 * no more units than the shares do, or as near to that as widths allow.
 */
function evenCounts(
  curves: readonly ErrorCurve[],
  sparsity: number,
  { roundTo, minKept, loss }: Omit<ByErrorOptions, "droppable">,
): UnitCounts {
  let budget = 0;
  let floor = 0;
  const near = curves.map(({ group: { size, sets } }) => {
    const free = Math.min(size, Math.max(minKept, Math.round(size * (1 - sparsity))));
    const allowed = widths(size, roundTo, minKept, false);
    const below = allowed.findLast((count) => count <= free);
    const above = allowed.find((count) => count >= free);
    const counts = [...new Set([below ?? above ?? free, above ?? free])];
    budget += free * sets;
    floor += (counts[0] ?? free) * sets;
    return counts;
  });
  const choices = curves.map((curve, i) =>
    (near[i] ?? []).map(
      (count): Choice => ({ cost: count * curve.group.sets, loss: loss(curve, curve.group.size - count) }),
    ),
  );
  const { picks } = multipleChoice(choices, Math.max(budget, floor));
  return new Map(curves.map(({ group }, i) => [group, near[i]?.[picks[i] ?? 0] ?? group.size]));
}

/** Milliseconds that the part of the network in which a group lies takes, by the number of units that it keeps. */
export type WidthTimes = ReadonlyMap<Group, ReadonlyMap<number, number>>;

/**
 * Kept counts, of those that were timed, such that the sum of errors is least and the times of all groups together are at
 * most `limitMs`. A group that all goes takes no time; one that was not timed stays whole. Throws `request` with the least
 * time where the limit cannot be met.
 */
export function countsByTime(
  curves: readonly ErrorCurve[],
  times: WidthTimes,
  limitMs: number,
  options: Partial<Pick<ByErrorOptions, "droppable" | "loss">> = {},
): UnitCounts {
  const { droppable, loss } = { ...byErrorDefaults, ...options };
  const kept = curves.map(({ group }) => {
    const timed = [...(times.get(group) ?? [[group.size, 0] as const])];
    return droppable.has(group) && times.has(group) ? [[0, 0] as const, ...timed] : timed;
  });
  const choices = curves.map((curve, i) =>
    (kept[i] ?? []).map(([count, ms]): Choice => ({ cost: ms, loss: loss(curve, curve.group.size - count) })),
  );
  const { picks } = multipleChoice(choices, limitMs);
  return new Map(curves.map(({ group }, i) => [group, kept[i]?.[picks[i] ?? 0]?.[0] ?? group.size]));
}

/** Units that go by the order of their curves: one byte a unit, 1 keeps. */
export function masksByCurve(curves: readonly ErrorCurve[], counts: UnitCounts): ReadonlyMap<Group, Uint8Array> {
  const masks = new Map<Group, Uint8Array>();
  for (const { group, order } of curves) {
    const count = counts.get(group) ?? group.size;
    if (count >= group.size) continue;
    const mask = new Uint8Array(unitCount(group)).fill(1);
    for (const unit of order.subarray(0, (group.size - count) * group.sets)) mask[unit] = 0;
    masks.set(group, mask);
  }
  return masks;
}

function widths(size: number, roundTo: number, minKept: number, droppable: boolean): number[] {
  const list = droppable ? [0] : [];
  for (let n = 1; n <= size; n++) if (n >= Math.min(minKept, size) && (n === size || n % roundTo === 0)) list.push(n);
  return list;
}
