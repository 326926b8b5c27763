import { sizeOf } from "../tensor/tensor.ts";

/** A parameter that shares a budget with others. */
export interface Layer {
  readonly name: string;
  /** All axes, kernel included. */
  readonly shape: readonly number[];
}

/**
 * Erdős–Rényi-kernel densities: ε · Σ dims / Π dims, at most 1, with ε such that `density` of all weights is left
 * (SET, RigL). Small layers stay denser. → kept share of each layer
 */
export function erk(layers: readonly Layer[], density: number): readonly number[] {
  return inProportion(layers, density, ({ shape }) => dimsOverSize(shape));
}

/** Erdős–Rényi densities: the same with the two axes of features alone, whatever the kernel (SET). → kept share of each layer */
export function er(layers: readonly Layer[], density: number): readonly number[] {
  return inProportion(layers, density, ({ shape }) => dimsOverSize(shape.slice(0, 2)));
}

/** Σ dims / Π dims */
function dimsOverSize(shape: readonly number[]): number {
  return shape.reduce((sum, n) => sum + n, 0) / Math.max(1, sizeOf(shape));
}

/** Shares in proportion to a number of each layer, none above 1, that leave `density` of all weights. */
function inProportion(layers: readonly Layer[], density: number, rawOf: (layer: Layer) => number): readonly number[] {
  const sizes = layers.map(({ shape }) => sizeOf(shape));
  const raw = layers.map(rawOf);
  const dense = layers.map(() => false);
  const total = sizes.reduce((sum, n) => sum + n, 0);
  for (;;) {
    let budget = density * total;
    let weight = 0;
    for (const [i, size] of sizes.entries()) {
      if (dense[i] === true) budget -= size;
      else weight += (raw[i] ?? 0) * size;
    }
    const epsilon = weight === 0 ? 0 : budget / weight;
    let changed = false;
    for (const [i, share] of raw.entries()) {
      if (dense[i] !== true && epsilon * share > 1) {
        dense[i] = true;
        changed = true;
      }
    }
    if (!changed) return raw.map((share, i) => (dense[i] === true ? 1 : epsilon * share));
  }
}

/**
 * LAMP: each score divided by the sum of all scores of its layer that are not smaller, so that the largest is 1
 * (Lee et al. 2021, Eq. 4). Scores ascending, in place; fed w², a global threshold on the result gives each layer's count.
 */
export function lampAscending(sorted: Float64Array): Float64Array {
  let sum = 0;
  for (let i = sorted.length - 1; i >= 0; ) {
    const score = sorted[i] ?? 0;
    let first = i;
    while (first > 0 && sorted[first - 1] === score) first--;
    sum += score * (i - first + 1);
    sorted.fill(sum === 0 ? 0 : score / sum, first, i + 1);
    i = first - 1;
  }
  return sorted;
}
