import type { Kept } from "../../surgery/kept.ts";
import type { TensorRef } from "../../tensor/tensor.ts";

/** Name of the file that says which positions of the original are left. */
export const keptFile = "kept-indices.json";

/**
 * kept-indices.json: which positions of the original's tensors are left, by tensor and axis. `of` tells which that was. A
 * number names one of the lists, null an axis that is whole; −1 in a list stands for a place that was filled with zeros.
 */
export function keptIndices(
  of: string,
  parameters: ReadonlyMap<string, TensorRef>,
  kept: Kept,
  written: Kept = kept,
): string {
  const lists: string[] = [];
  const numbers = new Map<string, number>();
  const tensors: Record<string, readonly (number | null)[]> = {};
  for (const [name, { shape }] of parameters) {
    const axes = shape.map((_, axis) => {
      const positions = placesOf(name, axis, kept, written);
      if (positions === null) return null;
      const text = JSON.stringify(positions);
      const number = numbers.get(text) ?? lists.push(text) - 1;
      numbers.set(text, number);
      return number;
    });
    if (axes.some((axis) => axis !== null)) tensors[name] = axes;
  }
  const named = Object.entries(tensors).map(([name, axes]) => `    ${JSON.stringify(name)}: ${JSON.stringify(axes)}`);
  const head = `{\n  "version": 1,\n  "of": ${JSON.stringify(of)},\n`;
  return `${head}  "lists": [\n    ${lists.join(",\n    ")}\n  ],\n  "tensors": {\n${named.join(",\n")}\n  }\n}\n`;
}

/** Original positions in the order in which they are written; null where all of them are, in their places. */
function placesOf(name: string, axis: number, kept: Kept, written: Kept): readonly number[] | null {
  const [left, places] = [kept.mask(name, axis), written.positions(name, axis)];
  if (left === null) return null;
  const all = places ?? Int32Array.from({ length: left.length }, (_, i) => i);
  return [...all].map((position) => (left[position] === 1 ? position : -1));
}
