import type { Floats } from "../tensor/products.ts";
import { countOf, keepNofM, smallest } from "../tensor/select.ts";
import type { ColumnState } from "./sweep-layout.ts";

/** Columns [of, inner] of which, for each row and inner position, `keep` stay. */
export interface ColumnGroup {
  readonly keep: number;
  readonly of: number;
  readonly inner: number;
  readonly columns: number;
}

/** Rows that are swept at a time: their part of a leaf stays in the cache. */
const stretch = 512;

/** Marks the share of a block of weights whose removal costs least. The block is [from, to) of all weights. */
export function chooseShare({ potential, mask }: ColumnState, from: number, to: number, sparsity: number): void {
  const removed = smallest(sizes(potential, from, to), countOf(sparsity, to - from));
  for (let i = 0; i < removed.length; i++) mask[from + i] = 1 - (removed[i] ?? 0);
}

/**
 * Sweeps the columns [from, to), which what is before them has updated already: settles one after the other and
 * updates those behind it. upper: R, [columns, columns]. Gives what they add to the loss.
 */
export function sweepColumns(
  state: ColumnState,
  upper: Float64Array,
  rows: number,
  columns: number,
  from: number,
  to: number,
  group: ColumnGroup | null,
): number {
  const { potential, removed, mask } = state;
  const width = group === null ? to - from : group.columns;
  let loss = 0;
  for (let r = 0; r < rows; r += stretch) {
    const end = Math.min(rows, r + stretch);
    for (let first = from; first < to; first += width) {
      if (group !== null) {
        for (let j = first; j < first + width; j++) {
          addBefore(potential, removed, upper, columns, rows, j, from, first, r, end);
        }
        chooseGroup(potential, mask, rows, first, r, end, group);
      }
      for (let j = first; j < Math.min(to, first + width); j++) {
        addBefore(potential, removed, upper, columns, rows, j, first, j, r, end);
        loss += settle(potential, removed, mask, upper[j * columns + j] ?? 1, j * rows + r, j * rows + end);
      }
    }
  }
  return loss;
}

/** V_j += Σᵢ D_i·R_ij over the columns i of [from, to), in the rows [r, end). */
function addBefore(
  potential: Floats,
  removed: Floats,
  upper: Float64Array,
  columns: number,
  rows: number,
  j: number,
  from: number,
  to: number,
  r: number,
  end: number,
): void {
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const a = upper[i * columns + j] ?? 0;
    const b = upper[(i + 1) * columns + j] ?? 0;
    const c = upper[(i + 2) * columns + j] ?? 0;
    const d = upper[(i + 3) * columns + j] ?? 0;
    let p = i * rows + r;
    let q = p + rows;
    let s = q + rows;
    let t = s + rows;
    for (let at = j * rows + r; at < j * rows + end; at++, p++, q++, s++, t++) {
      const near = a * (removed[p] ?? 0) + b * (removed[q] ?? 0);
      potential[at] = (potential[at] ?? 0) + near + (c * (removed[s] ?? 0) + d * (removed[t] ?? 0));
    }
  }
  for (; i < to; i++) {
    const a = upper[i * columns + j] ?? 0;
    let p = i * rows + r;
    for (let at = j * rows + r; at < j * rows + end; at++, p++) {
      potential[at] = (potential[at] ?? 0) + a * (removed[p] ?? 0);
    }
  }
}

/** V becomes the new weight and W what was removed of it; gives the loss. */
function settle(potential: Floats, removed: Floats, mask: Uint8Array, pivot: number, from: number, to: number): number {
  let loss = 0;
  for (let at = from; at < to; at++) {
    const stays = mask[at] ?? 0;
    const error = (1 - stays) * (potential[at] ?? 0);
    // Zeros are positive.
    const weight = (stays * (potential[at] ?? 0)) / pivot + 0;
    loss += error * error;
    potential[at] = weight;
    removed[at] = (removed[at] ?? 0) - weight;
  }
  return loss;
}

/** Marks, in the rows [r, end), which columns of a group stay. */
function chooseGroup(
  potential: Floats,
  mask: Uint8Array,
  rows: number,
  first: number,
  r: number,
  end: number,
  { keep, of, inner, columns }: ColumnGroup,
): void {
  const count = end - r;
  const scores = new Float64Array(columns * count);
  for (let k = 0, i = 0; k < columns; k++) {
    for (let at = (first + k) * rows + r; at < (first + k) * rows + end; at++)
      scores[i++] = Math.abs(potential[at] ?? 0);
  }
  const kept = keepNofM(scores, 1, of, keep, of, inner * count);
  for (let k = 0; k < columns; k++) mask.set(kept.subarray(k * count, (k + 1) * count), (first + k) * rows + r);
}

function sizes(potential: Floats, from: number, to: number): Floats {
  const out = potential.slice(from, to);
  for (let i = 0; i < out.length; i++) out[i] = Math.abs(out[i] ?? 0);
  return out;
}
