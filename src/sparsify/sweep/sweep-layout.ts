import type { GramFactor } from "../../tensor/linalg/gram-factor.ts";
import type { Floats } from "../../tensor/linalg/products.ts";
import { turn } from "../../tensor/linalg/turn.ts";

/** A matrix in the midst of a sweep, columns contiguous: each [columns, rows]. */
export interface ColumnState {
  /** S = Σᵢ Dᵢ·Rᵢⱼ of columns to come, over the settled columns i; W' of those that are settled. */
  readonly debt: Floats;
  /** W of columns to come, D = W − W' of those that are settled. */
  readonly removed: Floats;
  /** 1 keeps. */
  readonly mask: Uint8Array;
}

/** Lays a matrix [rows, columns] out for a sweep. order: which column comes at each place; null as given. */
export function toColumns(
  weights: Floats,
  rows: number,
  { n, dead }: GramFactor,
  order: Int32Array | null,
  mask: Uint8Array | null,
): ColumnState {
  const [lines, columns] = [lineStarts(rows, n, null), lineStarts(n, rows, order)];
  const removed = like(weights);
  turn(weights, lines, removed, columns);
  const kept = new Uint8Array(weights.length);
  if (mask === null) kept.fill(1);
  else turn(mask, lines, kept, columns);
  for (const j of dead) removed.fill(0, j * rows, (j + 1) * rows);
  return { debt: like(weights), removed, mask: kept };
}

/** The new weights and their mask: [rows, columns] each, the weights in `into` where it is given. */
export function fromColumns(
  { debt, mask }: ColumnState,
  rows: number,
  columns: number,
  order: Int32Array | null,
  into: Floats | null,
): { readonly weights: Floats; readonly mask: Uint8Array } {
  const [from, to] = [lineStarts(columns, rows, order), lineStarts(rows, columns, null)];
  const weights = into ?? like(debt);
  turn(debt, from, weights, to);
  const kept = new Uint8Array(mask.length);
  turn(mask, from, kept, to);
  return { weights, mask: kept };
}

/** Where each of `count` lines of `length` starts, when line order[i] comes at place i. */
function lineStarts(count: number, length: number, order: Int32Array | null): Int32Array {
  const starts = new Int32Array(count);
  for (let i = 0; i < count; i++) starts[order?.[i] ?? i] = i * length;
  return starts;
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
