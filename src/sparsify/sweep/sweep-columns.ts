import type { Floats } from "../../tensor/linalg/products.ts";
import { addColumns } from "./add-columns.ts";
import { type ColumnGroup, chooseGroup } from "./sweep-choice.ts";
import type { ColumnState } from "./sweep-layout.ts";

/** Rows that are swept at a time: their part of a leaf stays in the cache. */
const stretch = 128;

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
  const { debt, removed, mask } = state;
  const width = group === null ? to - from : group.columns;
  let loss = 0;
  for (let r = 0; r < rows; r += stretch) {
    const end = Math.min(rows, r + stretch);
    for (let first = from; first < to; first += width) {
      if (group !== null) {
        const own = first + width > to ? (group.rest ?? group) : group;
        for (let j = first; j < first + own.columns; j++) {
          addColumns(debt, removed, upper, columns, rows, j, from, first, r, end);
        }
        chooseGroup(state, upper, rows, columns, first, r, end, own);
      }
      for (let j = first; j < Math.min(to, first + width); j++) {
        addColumns(debt, removed, upper, columns, rows, j, first, j, r, end);
        loss += settle(debt, removed, mask, upper[j * columns + j] ?? 1, j * rows + r, j * rows + end);
      }
    }
  }
  return loss;
}

/** S becomes the new weight and W what was removed of it; gives the loss. */
function settle(debt: Floats, removed: Floats, mask: Uint8Array, pivot: number, from: number, to: number): number {
  const inverse = 1 / pivot;
  let loss = 0;
  for (let at = from; at < to; at++) {
    const stays = mask[at] ?? 0;
    const old = removed[at] ?? 0;
    const owed = debt[at] ?? 0;
    const error = (1 - stays) * (old * pivot + owed);
    // Zeros are positive.
    const weight = stays * (old + owed * inverse) + 0;
    loss += error * error;
    debt[at] = weight;
    removed[at] = old - weight;
  }
  return loss;
}
