import { type Floats, type Products, part } from "../tensor/products.ts";
import { countOf, keepNofM, smallest } from "../tensor/select.ts";
import { addColumns } from "./add-columns.ts";
import type { ColumnState } from "./sweep-layout.ts";

/** Columns [of, inner] of which, for each row and inner position, `keep` stay. */
export interface ColumnGroup {
  readonly keep: number;
  readonly of: number;
  readonly inner: number;
  readonly columns: number;
}

/** Marks the share of the weights of the columns [from, to) whose removal costs least. */
export async function chooseShare(
  state: ColumnState,
  upper: Float64Array,
  rows: number,
  columns: number,
  from: number,
  to: number,
  sparsity: number,
  products: Products,
): Promise<void> {
  const { costs, waiting, lines } = pending(state, upper, rows, columns, from, to, 0, rows);
  const width = to - from;
  await products.addColumnProducts(part(costs, rows), part(lines, width), part(waiting, rows), width, rows, width, 1);
  const removed = smallest(sizes(costs), countOf(sparsity, costs.length));
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
  const { costs, waiting, lines } = pending(state, upper, rows, columns, first, first + width, r, end);
  const count = end - r;
  for (let j = 0; j < width; j++) addColumns(costs, waiting, lines, width, count, j, 0, j, 0, count);
  const kept = keepNofM(sizes(costs), 1, of, keep, of, inner * count);
  for (let j = 0; j < width; j++) state.mask.set(kept.subarray(j * count, (j + 1) * count), (first + j) * rows + r);
}

/**
 * What removing each weight of the columns [from, to) costs, all updated by the columns before `from` only, as the choice wants
 * it: the square root is |C|, C = V + S·Q. S = V − W·diag(R) is what waits to be made up for, and with the columns
 * in between staying, it spreads by Q, R⁻¹·diag(R) of these columns less its diagonal of ones. costs: V; waiting: S; lines: Q.
 */
function pending(
  { potential, removed }: ColumnState,
  upper: Float64Array,
  rows: number,
  columns: number,
  from: number,
  to: number,
  r: number,
  end: number,
): { readonly costs: Floats; readonly waiting: Floats; readonly lines: Float64Array } {
  const count = end - r;
  const size = (to - from) * count;
  const [costs, waiting] =
    potential instanceof Float32Array
      ? [new Float32Array(size), new Float32Array(size)]
      : [new Float64Array(size), new Float64Array(size)];
  for (let j = from, i = 0; j < to; j++) {
    const pivot = upper[j * columns + j] ?? 1;
    for (let at = j * rows + r; at < j * rows + end; at++, i++) {
      const value = potential[at] ?? 0;
      costs[i] = value;
      waiting[i] = value - (removed[at] ?? 0) * pivot;
    }
  }
  return { costs, waiting, lines: spread(upper, columns, from, to) };
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

function sizes(values: Floats): Floats {
  for (let i = 0; i < values.length; i++) values[i] = Math.abs(values[i] ?? 0);
  return values;
}
