import type { GramFactor } from "../tensor/gram-factor.ts";
import type { Floats } from "../tensor/products.ts";

/** A matrix in the midst of a sweep, columns contiguous: each [columns, rows]. */
export interface ColumnState {
  /** V = W·Rⱼⱼ + Σᵢ Dᵢ·Rᵢⱼ of columns to come, W' of those that are settled. */
  readonly potential: Floats;
  /** W of columns to come, D = W − W' of those that are settled. */
  readonly removed: Floats;
  /** 1 keeps. */
  readonly mask: Uint8Array;
}

/** Side of the squares in which matrices are turned. */
const tile = 32;

/** Lays a matrix [rows, columns] out for a sweep. order: which column comes at each place; null as given. */
export function toColumns(
  weights: Floats,
  rows: number,
  { n, upper, dead }: GramFactor,
  order: Int32Array | null,
  mask: Uint8Array | null,
): ColumnState {
  const [potential, removed] = [like(weights), like(weights)];
  const kept = new Uint8Array(weights.length);
  if (mask === null) kept.fill(1);
  for (let r0 = 0; r0 < rows; r0 += tile) {
    const end = Math.min(rows, r0 + tile);
    for (let j = 0; j < n; j++) {
      const pivot = upper[j * n + j] ?? 1;
      for (let r = r0, from = r0 * n + (order?.[j] ?? j), to = j * rows + r0; r < end; r++, from += n, to++) {
        const weight = weights[from] ?? 0;
        removed[to] = weight;
        potential[to] = weight * pivot;
        if (mask !== null) kept[to] = mask[from] ?? 0;
      }
    }
  }
  for (const j of dead) {
    potential.fill(0, j * rows, (j + 1) * rows);
    removed.fill(0, j * rows, (j + 1) * rows);
  }
  return { potential, removed, mask: kept };
}

/** The new weights and their mask: [rows, columns] each, the weights in `into` where it is given. */
export function fromColumns(
  { potential, mask }: ColumnState,
  rows: number,
  columns: number,
  order: Int32Array | null,
  into: Floats | null,
): { readonly weights: Floats; readonly mask: Uint8Array } {
  const weights = into ?? like(potential);
  const kept = new Uint8Array(mask.length);
  for (let r0 = 0; r0 < rows; r0 += tile) {
    const end = Math.min(rows, r0 + tile);
    for (let j = 0; j < columns; j++) {
      for (
        let r = r0, from = j * rows + r0, to = r0 * columns + (order?.[j] ?? j);
        r < end;
        r++, from++, to += columns
      ) {
        weights[to] = potential[from] ?? 0;
        kept[to] = mask[from] ?? 0;
      }
    }
  }
  return { weights, mask: kept };
}

/** The columns with the largest inputs first; of equal ones the lower first. */
export function byActivation(gram: Float64Array, columns: number): Int32Array {
  const size = (j: number): number => gram[j * columns + j] ?? 0;
  return Int32Array.from({ length: columns }, (_, j) => j).sort((a, b) => size(b) - size(a) || a - b);
}

/** A symmetric matrix with its rows and columns in another order. */
export function reordered(gram: Float64Array, n: number, order: Int32Array): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = (order[i] ?? 0) * n;
    for (let j = 0; j < n; j++) out[i * n + j] = gram[row + (order[j] ?? 0)] ?? 0;
  }
  return out;
}

function like(values: Floats): Floats {
  return values instanceof Float32Array ? new Float32Array(values.length) : new Float64Array(values.length);
}
