import type { Term } from "../coupling/axis-algebra.ts";
import type { Coupling, Group } from "../coupling/couple.ts";
import type { Axis } from "../ops/spec.ts";

/** For each group that loses units: one byte a unit, 1 keeps. Groups that are absent stay whole. */
export type UnitMasks = ReadonlyMap<Group, Uint8Array>;

/** Which positions of which axes stay. */
export interface Kept {
  /** Kept positions of an axis of a value, ascending; null when all stay or the axis is unknown. */
  positions(value: string, axis: number): Int32Array | null;
  /** 1 where a position stays; null when all stay. */
  mask(value: string, axis: number): Uint8Array | null;
  /** True when any axis of the value loses positions. */
  touches(value: string): boolean;
}

/** Spreads unit masks over the axes: a position stays when every leaf that covers it keeps its unit. */
export function keptPositions(coupling: Coupling, units: UnitMasks): Kept {
  const byLeaf = new Map<Term, Uint8Array>();
  for (const [group, mask] of units) if (mask.includes(0)) byLeaf.set(group.leaf, mask);
  const masks = new Map<Axis, Uint8Array | null>();
  const lists = new Map<Uint8Array, Int32Array>();

  const maskOf = (axis: Term): Uint8Array | null => {
    const known = masks.get(axis);
    if (known !== undefined) return known;
    let mask: Uint8Array | null = null;
    for (const { leaf, offset, length, stride } of coupling.occurrences(axis)) {
      const keep = byLeaf.get(leaf);
      if (keep === undefined) continue;
      mask ??= new Uint8Array(axis.size).fill(1);
      for (let from = offset, unit = 0; from < offset + length; from += stride, unit++) {
        if (unit === leaf.size) unit = 0;
        if (keep[unit] === 0) mask.fill(0, from, from + stride);
      }
    }
    masks.set(axis, mask);
    return mask;
  };
  const mask = (value: string, axis: number): Uint8Array | null => {
    const term = coupling.axes(value)?.[axis];
    return term === undefined ? null : maskOf(term);
  };
  return {
    mask,
    positions: (value, axis) => {
      const bytes = mask(value, axis);
      if (bytes === null) return null;
      let list = lists.get(bytes);
      if (list === undefined) {
        list = indicesOf(bytes);
        lists.set(bytes, list);
      }
      return list;
    },
    touches: (value) => (coupling.axes(value) ?? []).some((term) => maskOf(term) !== null),
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
