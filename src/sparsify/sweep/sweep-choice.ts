import { type Floats, type Products, part } from "../../tensor/linalg/products.ts";
import { countOf, keepNofM, smallest } from "../../tensor/selection/select.ts";
import { addColumns } from "./add-columns.ts";
import type { ColumnState } from "./sweep-layout.ts";

/** Columns [of, inner] of which, for each row and inner position, `keep` stay. */
export interface ColumnGroup {
  readonly keep: number;
  readonly of: number;
  readonly inner: number;
  readonly columns: number;
  /** The group that takes the place of this one at the end of an axis that it does not divide. */
  readonly rest: ColumnGroup | null;
}

/** Marks the share of the weights of the columns [from, to) whose removal costs least. scratch: memory for as many numbers, as wide as the debt. */
export async function chooseShare(
  state: ColumnState,
  upper: Float64Array,
  rows: number,
  columns: number,
  from: number,
  to: number,
  sparsity: number,
  products: Products,
  scratch: Floats,
): Promise<void> {
  const width = to - from;
  const costs = scratch.subarray(0, width * rows);
  costs.set(state.debt.subarray(from * rows, to * rows));
  const [lines, debt] = [part(spread(upper, columns, from, to), width), part(state.debt, rows, from)];
  await products.addColumnProducts(part(costs, rows), lines, debt, width, rows, width, 1);
  addOwn(costs, state.removed, upper, rows, columns, from, to, 0, rows);
  const removed = smallest(costs, countOf(sparsity, costs.length));
  for (let i = 0, at = from * rows; i < removed.length; i++, at++) state.mask[at] = 1 - (removed[i] ?? 0);
}

/** Marks, in the rows [r, end), which columns of the group that starts at `first` stay. */
export function chooseGroup(
  state: ColumnState,
  upper: Float64Array,
  rows: number,
  columns: number,
  first: number,
  r: number,
  end: number,
  { keep, of, inner, columns: width }: ColumnGroup,
): void {
  const { debt, removed, mask } = state;
  const count = end - r;
  const owed = debt instanceof Float32Array ? new Float32Array(width * count) : new Float64Array(width * count);
  for (let j = 0; j < width; j++) {
    const at = (first + j) * rows;
    owed.set(debt.subarray(at + r, at + end), j * count);
  }
  const costs = owed.slice();
  const lines = spread(upper, columns, first, first + width);
  for (let j = 0; j < width; j++) addColumns(costs, owed, lines, width, count, j, 0, j, 0, count);
  addOwn(costs, removed, upper, rows, columns, first, first + width, r, end);
  const kept = keepNofM(costs, 1, of, keep, of, inner * count);
  for (let j = 0; j < width; j++) mask.set(kept.subarray(j * count, (j + 1) * count), (first + j) * rows + r);
}

/**
 * costs = |costs + W·diag(R)| for the columns [from, to) in the rows [r, end). Where all columns before `from` are settled and those behind
 * stay as they will be updated, removing a weight costs C², C = W·diag(R) + S + S·Q: a debt S that is not made up for
 * by a loss spreads to the columns behind, by Q = R⁻¹·diag(R) of these columns less its diagonal of ones.
 */
function addOwn(
  costs: Floats,
  removed: Floats,
  upper: Float64Array,
  rows: number,
  columns: number,
  from: number,
  to: number,
  r: number,
  end: number,
): void {
  for (let j = from, i = 0; j < to; j++) {
    const pivot = upper[j * columns + j] ?? 1;
    for (let at = j * rows + r; at < j * rows + end; at++, i++) {
      costs[i] = Math.abs((costs[i] ?? 0) + pivot * (removed[at] ?? 0));
    }
  }
}

/** R⁻¹·diag(R) of the columns [from, to), less its diagonal. */
function spread(upper: Float64Array, columns: number, from: number, to: number): Float64Array {
  const size = to - from;
  const out = new Float64Array(size * size);
  for (let i = size - 1; i >= 0; i--) {
    const line = (from + i) * columns + from;
    const pivot = upper[line + i] ?? 1;
    for (let k = i + 1; k < size; k++) {
      const factor = (upper[line + k] ?? 0) / pivot;
      out[i * size + k] = (out[i * size + k] ?? 0) - factor;
      for (let j = k + 1; j < size; j++)
        out[i * size + j] = (out[i * size + j] ?? 0) - factor * (out[k * size + j] ?? 0);
    }
  }
  return out;
}
