import type { Kept } from "../../formats/checkpoint/kept.ts";
import type { Kept as KeptUnits } from "../../surgery/kept.ts";
import type { TensorRef } from "../../tensor/tensor.ts";

/**
 * Which positions of the original's tensors are left where units went. `written` are those that are in the files: places of
 * these that `kept` does not have were filled with zeros.
 */
export function keptIndices(
  of: string,
  parameters: ReadonlyMap<string, TensorRef>,
  kept: KeptUnits,
  written: KeptUnits = kept,
): Kept {
  const positions = new Map<string, readonly (readonly number[] | null)[]>();
  for (const [name, { shape }] of parameters) {
    const axes = shape.map((_, axis) => placesOf(name, axis, kept, written));
    if (axes.some((axis) => axis !== null)) positions.set(name, axes);
  }
  return { of, names: new Map(), positions };
}

/** Original positions in the order in which they are written; null where all of them are, in their places. */
function placesOf(name: string, axis: number, kept: KeptUnits, written: KeptUnits): readonly number[] | null {
  const [left, places] = [kept.mask(name, axis), written.positions(name, axis)];
  if (left === null) return null;
  const all = places ?? Int32Array.from({ length: left.length }, (_, i) => i);
  return [...all].map((position) => (left[position] === 1 ? position : -1));
}
