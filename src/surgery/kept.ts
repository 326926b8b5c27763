import type { Term } from "../coupling/axis-algebra.ts";
import type { Coupling, Group } from "../coupling/couple.ts";
import type { Placement } from "../coupling/placement.ts";

/** For each group that loses units: one byte a unit, 1 keeps. Groups that are absent stay whole. */
export type UnitMasks = ReadonlyMap<Group, Uint8Array>;

/** What stays of an axis. */
export interface Left {
  /** 1 where a position stays. */
  readonly mask: Uint8Array;
  /** Kept positions in their new order. */
  readonly positions: Int32Array;
}

/** An axis on which other positions stay, though equally many, depending on the position on other axes. */
export interface Across {
  /** The other axes; what each of their positions adds to the number of the set. */
  readonly by: readonly { readonly axis: number; readonly set: Int32Array }[];
  /** What stays in that set. */
  left(set: number): Left;
}

/** Which positions of which axes stay. */
export interface Kept {
  /**
   * Kept positions of an axis of a value in their new order; null when all stay or the axis is unknown. Of an axis where
   * they depend on other axes, those of the first set: as many as in each.
   */
  positions(value: string, axis: number): Int32Array | null;
  /** 1 where a position stays; null when all stay. Of an axis where that depends on other axes, in the first set. */
  mask(value: string, axis: number): Uint8Array | null;
  /** How the positions of an axis depend on other axes; null where they do not. */
  across(value: string, axis: number): Across | null;
  /** True when any axis of the value loses positions. */
  touches(value: string): boolean;
}

/** The part of it that does not tell how axes depend on others. */
export type KeptPositions = Pick<Kept, "positions" | "mask">;

/** The axes of a value that depend on others, each before the axes that it depends on. */
export function dependentAxes(
  kept: Kept,
  value: string,
  rank: number,
): readonly (Across & { readonly axis: number })[] {
  const left = Array.from({ length: rank }, (_, axis) => axis).flatMap((axis) => {
    const across = kept.across(value, axis);
    return across === null ? [] : [{ ...across, axis }];
  });
  const ordered: typeof left = [];
  while (left.length > 0) {
    const free = left.findIndex(({ axis }) => !left.some(({ by }) => by.some((each) => each.axis === axis)));
    ordered.push(...left.splice(Math.max(0, free), 1));
  }
  return ordered;
}

/** A group with its mask and its places on one axis. */
interface Loss {
  readonly group: Group;
  readonly keep: Uint8Array;
  readonly placement: Placement;
}

/** Spreads unit masks over the axes: a position stays when every group that covers it keeps its unit. */
export function keptPositions(coupling: Coupling, units: UnitMasks): Kept {
  const byLeaf = new Map<Term, readonly [Group, Uint8Array]>();
  for (const [group, mask] of units) if (mask.includes(0)) byLeaf.set(group.leaf, [group, mask]);
  const plain = new Map<Term, Left | null>();
  const dependent = new Map<string, Across>();

  /** Null where all of the axis stays. */
  const find = (value: string, axis: number): Left | Across | null => {
    const term = coupling.axes(value)?.[axis];
    if (term === undefined) return null;
    const known = plain.get(term);
    if (known !== undefined) return known;
    const depends = dependent.get(`${axis} ${value}`);
    if (depends !== undefined) return depends;
    const losing = new Set(coupling.occurrences(term).map(({ leaf }) => leaf));
    const losses = [...losing].flatMap((leaf): Loss[] => {
      const found = byLeaf.get(leaf);
      if (found === undefined) return [];
      const [group, keep] = found;
      return [{ group, keep, placement: coupling.placement(group, value, axis) }];
    });
    if (losses.some(({ placement }) => placement.across.length > 0)) {
      const made = acrossOf(losses, term.size);
      dependent.set(`${axis} ${value}`, made);
      return made;
    }
    const left = losses.length === 0 ? null : leftOf(losses, term.size, () => 0);
    plain.set(term, left);
    return left;
  };
  const first = (found: Left | Across | null): Left | null =>
    found === null || "mask" in found ? found : found.left(0);
  return {
    mask: (value, axis) => first(find(value, axis))?.mask ?? null,
    positions: (value, axis) => first(find(value, axis))?.positions ?? null,
    across: (value, axis) => {
      const found = find(value, axis);
      return found === null || "mask" in found ? null : found;
    },
    touches: (value) => (coupling.axes(value) ?? []).some((_, axis) => find(value, axis) !== null),
  };
}

/** The positions that stay when `setOf` tells the part of each group's set that the axis does not. */
function leftOf(losses: readonly Loss[], size: number, setOf: (loss: Loss) => number): Left {
  const mask = new Uint8Array(size).fill(1);
  // Where each position would stand if the kept units of every set stood first in it.
  const order = Int32Array.from({ length: size }, (_, p) => p);
  let moved = false;
  for (const loss of losses) {
    const { group, keep, placement } = loss;
    const base = setOf(loss) * group.size;
    const ranks = group.sets === 1 ? null : ranksOf(keep, group.size);
    for (const { offset, stride, units } of placement.stretches) {
      for (let p = 0; p < units.length; p++) {
        const unit = base + (units[p] ?? 0);
        if (keep[unit] === 0) mask[offset + p] = 0;
        else if (ranks !== null) {
          order[offset + p] = (order[offset + p] ?? 0) + ((ranks[unit] ?? 0) - (unit % group.size)) * stride;
          moved = true;
        }
      }
    }
  }
  const positions = indicesOf(mask);
  if (moved) positions.sort((a, b) => (order[a] ?? 0) - (order[b] ?? 0));
  return { mask, positions };
}

/** For each kept unit the number of kept units before it in its set. */
function ranksOf(keep: Uint8Array, size: number): Int32Array {
  const ranks = new Int32Array(keep.length);
  for (let unit = 0, rank = 0; unit < keep.length; unit++) {
    if (unit % size === 0) rank = 0;
    if (keep[unit] === 1) ranks[unit] = rank++;
  }
  return ranks;
}

/** Numbers the combinations of positions that matter, whatever groups lie on the axis. */
function acrossOf(losses: readonly Loss[], size: number): Across {
  const axes = [...new Set(losses.flatMap(({ placement }) => placement.across.map(({ axis }) => axis)))];
  // On each other axis, positions that tell every group the same are one: a kind.
  const kinds = axes.map((axis) => {
    const sets = losses.map(({ placement }) => placement.across.find((each) => each.axis === axis)?.set);
    const length = Math.max(...sets.map((set) => set?.length ?? 0));
    const numbers = new Map<string, number>();
    const told: (readonly number[])[] = [];
    const kind = new Int32Array(length);
    for (let p = 0; p < length; p++) {
      const parts = sets.map((set) => set?.[p] ?? 0);
      const key = parts.join(" ");
      let number = numbers.get(key);
      if (number === undefined) {
        number = told.length;
        numbers.set(key, number);
        told.push(parts);
      }
      kind[p] = number;
    }
    return { kind, told };
  });
  const found = new Map<number, Left>();
  const left = (set: number): Left => {
    let known = found.get(set);
    if (known === undefined) {
      let rest = set;
      const chosen = kinds.map(({ told }) => {
        const parts = told[rest % told.length] ?? [];
        rest = Math.floor(rest / told.length);
        return parts;
      });
      known = leftOf(losses, size, (loss) => {
        const at = losses.indexOf(loss);
        return chosen.reduce((sum, parts) => sum + (parts[at] ?? 0), 0);
      });
      found.set(set, known);
    }
    return known;
  };
  let weight = 1;
  const by = axes.map((axis, i) => {
    const { kind, told } = kinds[i] ?? { kind: new Int32Array(0), told: [] };
    const set = kind.map((number) => number * weight);
    weight *= told.length;
    return { axis, set };
  });
  return { by, left };
}

/** What is left after two cuts, the second of what the first left: positions of the network before both. */
export function through(first: KeptPositions, second: KeptPositions): KeptPositions {
  return {
    mask: (value, axis) => {
      const [before, now] = [first.mask(value, axis), second.mask(value, axis)];
      if (before === null || now === null) return before ?? now;
      const both = new Uint8Array(before.length);
      for (const [i, position] of (first.positions(value, axis) ?? []).entries()) both[position] = now[i] ?? 0;
      return both;
    },
    positions: (value, axis) => {
      const [before, now] = [first.positions(value, axis), second.positions(value, axis)];
      return before === null || now === null ? (before ?? now) : now.map((position) => before[position] ?? 0);
    },
  };
}

function indicesOf(mask: Uint8Array): Int32Array {
  let count = 0;
  for (let i = 0; i < mask.length; i++) count += mask[i] ?? 0;
  const out = new Int32Array(count);
  let next = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i] === 1) out[next++] = i;
  return out;
}
