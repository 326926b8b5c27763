import type { Alike } from "../../coupling/alike.ts";
import type { Coupling } from "../../coupling/couple.ts";
import { type Group, unitCount } from "../../coupling/couple.ts";
import { type Kept, keptPositions, type UnitMasks } from "../../surgery/kept.ts";
import { EspalierError } from "../../tensor/error.ts";
import { bytesOf, load, sizeOf, type TensorRef } from "../../tensor/tensor.ts";

/**
 * Masks in which groups that are alike keep as many units as that of them which keeps most, or the next of their
 * numbers: the others take units back that went, which are then filled with zeros.
 */
export function paddedMasks(masks: UnitMasks, alike: readonly Alike[]): UnitMasks {
  const padded = new Map(masks);
  for (const { groups, counts } of alike) {
    const most = Math.max(...groups.map((group) => keptOf(group, masks.get(group))));
    const count = counts.find((each) => each >= most) ?? most;
    for (const group of groups) {
      const mask = masks.get(group);
      if (mask !== undefined) padded.set(group, widened(group, mask, count));
    }
  }
  return padded;
}

/** Units of a set that a mask keeps. */
function keptOf(group: Group, mask: Uint8Array | undefined): number {
  if (mask === undefined) return group.size;
  return (mask.reduce((sum, keep) => sum + keep, 0) * group.size) / unitCount(group);
}

/** The first units of every set that went come back, until it has so many. */
function widened({ size, sets }: Group, mask: Uint8Array, count: number): Uint8Array {
  const wide = mask.slice();
  for (let set = 0; set < sets; set++) {
    let missing = count;
    for (let unit = 0; unit < size; unit++) missing -= mask[set * size + unit] ?? 0;
    for (let unit = set * size; unit < (set + 1) * size && missing > 0; unit++) {
      if (wide[unit] === 1) continue;
      wide[unit] = 1;
      missing--;
    }
  }
  return wide;
}

/**
 * Parameters of a pruned model with zeros where padded masks keep a unit that is gone. What such a unit gives is multiplied
 * by zeros where it is read. Throws `request` for parameters in which the kept positions of an axis depend on another.
 */
export function paddedParameters(
  pruned: ReadonlyMap<string, TensorRef>,
  coupling: Coupling,
  masks: UnitMasks,
  padded: UnitMasks,
): ReadonlyMap<string, TensorRef> {
  const [before, after] = [keptPositions(coupling, masks), keptPositions(coupling, padded)];
  return new Map([...pruned].map(([name, ref]) => [name, filled(name, ref, before, after)]));
}

function filled(name: string, ref: TensorRef, before: Kept, after: Kept): TensorRef {
  const axes = ref.shape.map((size, axis) => {
    if (before.across(name, axis) !== null || after.across(name, axis) !== null) {
      const message = "expected axes that can be padded apart, got one that depends on another.";
      throw new EspalierError("request", name, message, "Leave its group out with --ignore.");
    }
    const [from, to] = [before.positions(name, axis), after.positions(name, axis)];
    if (from === null) return null;
    const places = new Map([...from].map((position, i) => [position, i]));
    // Where all positions stay after all, they are in their places.
    const all = to ?? Int32Array.from({ length: before.mask(name, axis)?.length ?? size }, (_, i) => i);
    return Int32Array.from(all, (position) => places.get(position) ?? -1);
  });
  if (axes.every((axis, i) => axis === null || axis.length === ref.shape[i])) return ref;
  const shape = ref.shape.map((size, axis) => axes[axis]?.length ?? size);
  return { dtype: ref.dtype, shape, made: { from: ref, by: async () => scattered(ref, shape, axes) } };
}

/** Copies elements to their new places; −1 is a place with zeros. */
async function scattered(
  ref: TensorRef,
  shape: readonly number[],
  axes: readonly (Int32Array | null)[],
): Promise<Uint8Array> {
  const { bytes } = await load(ref);
  const width = bytesOf(ref) / Math.max(1, sizeOf(ref.shape));
  const out = new Uint8Array(sizeOf(shape) * width);
  const inner = shape.length - 1;
  const copy = (axis: number, from: number, to: number): void => {
    const places = axes[axis];
    const [size, had] = [shape[axis] ?? 1, ref.shape[axis] ?? 1];
    for (let i = 0; i < size; i++) {
      const place = places == null ? i : (places[i] ?? -1);
      if (place < 0) continue;
      const [source, target] = [from * had + place, to * size + i];
      if (axis === inner) out.set(bytes.subarray(source * width, (source + 1) * width), target * width);
      else copy(axis + 1, source, target);
    }
  };
  copy(0, 0, 0);
  return out;
}
