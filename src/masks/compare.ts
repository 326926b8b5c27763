import { EspalierError } from "../tensor/error.ts";
import { toFloat64 } from "../tensor/numeric.ts";
import type { HostTensor } from "../tensor/tensor.ts";

/** How two masks of one weight relate; 1 keeps. */
export interface MaskComparison {
  readonly size: number;
  /** Kept by the first and by the second. */
  readonly kept: readonly [first: number, second: number];
  /** Kept by both, as a share of what either keeps; 1 when neither keeps anything. */
  readonly jaccard: number;
  /** Kept by both, as a share of the smaller kept set; 1 when that is empty. */
  readonly overlap: number;
  /** Entries in which they differ. */
  readonly flips: number;
}

/** Compares two masks. Throws `shape` where their lengths differ. */
export function compareMasks(first: Uint8Array, second: Uint8Array): MaskComparison {
  if (first.length !== second.length) {
    throw new EspalierError(
      "shape",
      "masks",
      `expected masks of one length, got ${first.length} and ${second.length}.`,
    );
  }
  let one = 0;
  let two = 0;
  let both = 0;
  for (let i = 0; i < first.length; i++) {
    const a = +(first[i] !== 0);
    const b = +(second[i] !== 0);
    one += a;
    two += b;
    both += a & b;
  }
  const either = one + two - both;
  const smaller = Math.min(one, two);
  return {
    size: first.length,
    kept: [one, two],
    jaccard: either === 0 ? 1 : both / either,
    overlap: smaller === 0 ? 1 : both / smaller,
    flips: either - both,
  };
}

/** One comparison of the masks of whole models, entry by entry added up. Throws `shape` where a mask has no partner. */
export function compareModels(
  first: ReadonlyMap<string, Uint8Array>,
  second: ReadonlyMap<string, Uint8Array>,
): MaskComparison {
  let size = 0;
  let one = 0;
  let two = 0;
  let flips = 0;
  for (const name of new Set([...first.keys(), ...second.keys()])) {
    const a = first.get(name);
    const b = second.get(name);
    if (a === undefined || b === undefined) {
      throw new EspalierError("shape", name, "expected a mask in both models, got one in one of them.");
    }
    const part = compareMasks(a, b);
    size += part.size;
    one += part.kept[0];
    two += part.kept[1];
    flips += part.flips;
  }
  const both = (one + two - flips) / 2;
  const either = both + flips;
  const smaller = Math.min(one, two);
  return {
    size,
    kept: [one, two],
    jaccard: either === 0 ? 1 : both / either,
    overlap: smaller === 0 ? 1 : both / smaller,
    flips,
  };
}

/** Kept share of each mask and of all together. */
export function densityProfile(masks: ReadonlyMap<string, Uint8Array>): {
  readonly total: number;
  readonly layers: readonly { readonly name: string; readonly kept: number; readonly size: number }[];
} {
  const layers = [...masks].map(([name, mask]) => {
    let kept = 0;
    for (let i = 0; i < mask.length; i++) kept += +(mask[i] !== 0);
    return { name, kept, size: mask.length };
  });
  const size = layers.reduce((sum, layer) => sum + layer.size, 0);
  return { layers, total: size === 0 ? 1 : layers.reduce((sum, layer) => sum + layer.kept, 0) / size };
}

/** The mask of a tensor's elements that are not zero. */
export function nonzeroMask(tensor: HostTensor): Uint8Array {
  const values = toFloat64(tensor);
  const mask = new Uint8Array(values.length);
  for (let i = 0; i < mask.length; i++) mask[i] = +(values[i] !== 0);
  return mask;
}
