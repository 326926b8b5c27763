import type { Matrix } from "../coupling/matrices.ts";
import { bitsOf, byteLengthOf } from "../tensor/dtype.ts";
import { toFloat32 } from "../tensor/numeric.ts";
import { type Elements, storedElements } from "../tensor/stored-elements.ts";
import { type HostTensor, load, sizeOf, type TensorRef, tensor } from "../tensor/tensor.ts";
import type { WeightView } from "./criterion.ts";
import { canonicalOrder } from "./weight-view.ts";

/** Weights looked at together: enough to be fast, little enough that scores of large parameters need no memory. */
const stretchSize = 1 << 16;

/** Side of the tiles in which turned matrices are copied. */
const tile = 32;

/** How the rows and columns that criteria see lie in a parameter. */
export interface Layout {
  readonly matrix: Matrix;
  readonly rows: number;
  readonly columns: number;
  readonly positions: number;
  /** Element (r, c) is at rowAt[r] + columnAt[c]; null where that is r * columns + c. */
  readonly at: { readonly row: Uint32Array; readonly column: Uint32Array } | null;
}

/** The layout of a matrix inside its parameter. */
export function layoutOf(matrix: Matrix): Layout {
  const { shape, inputs, columns } = matrix;
  const order = canonicalOrder(matrix);
  const positions = columns / (shape[inputs[0] ?? 0] ?? 1);
  const rows = columns === 0 ? 0 : sizeOf(shape) / columns;
  const plain = order.every((axis, i) => axis === i);
  const rowAxes = order.slice(0, order.length - inputs.length);
  const at = plain ? null : { row: offsets(shape, rowAxes, rows), column: offsets(shape, inputs, columns) };
  return { matrix, rows, columns, positions, at };
}

/** Offset of each index of the given axes, the first varying slowest. */
function offsets(shape: readonly number[], axes: readonly number[], count: number): Uint32Array {
  const out = new Uint32Array(count);
  let inner = 1;
  for (const axis of axes.toReversed()) {
    const stride = sizeOf(shape.slice(axis + 1));
    const size = shape[axis] ?? 1;
    for (let i = 0; i < count; i++) out[i] = (out[i] ?? 0) + (Math.floor(i / inner) % size) * stride;
    inner *= size;
  }
  return out;
}

/**
 * First rows and numbers of rows of the stretches of a matrix; all but the last are multiples of `multiple`, and an
 * infinite one asks for a single stretch.
 */
export function stretchesOf(
  { rows, columns }: Layout,
  multiple = 1,
): readonly (readonly [from: number, rows: number])[] {
  if (multiple === Number.POSITIVE_INFINITY) return [[0, rows]];
  const step = Math.max(1, Math.floor(stretchSize / Math.max(1, columns) / multiple)) * multiple;
  const out: (readonly [number, number])[] = [];
  for (let from = 0; from < rows; from += step) out.push([from, Math.min(step, rows - from)]);
  return out;
}

/** Rows `from` to `from + count` of a parameter as criteria see them. */
export function stretchView(layout: Layout, host: HostTensor, from: number, count: number): WeightView {
  const { columns } = layout;
  const width = bitsOf(host.dtype) >> 3;
  const part =
    layout.at === null
      ? host.bytes.subarray(from * columns * width, (from + count) * columns * width)
      : gather(layout, host, from, count);
  return viewOf(layout, tensor(host.dtype, [count, columns], part), from);
}

function viewOf({ matrix, rows, columns, positions }: Layout, part: HostTensor, firstRow: number): WeightView {
  const { parameter, shape } = matrix;
  const own = { matrix, parameter, shape, columns, positions, firstRow, totalRows: rows, role: null };
  return { ...own, rows: part.shape[0] ?? 0, values: toFloat32(part) };
}

/** Calls `visit` with every stretch of a parameter, from the file where rows lie in one piece there. */
export async function eachStretch(
  ref: TensorRef,
  layout: Layout,
  multiple: number,
  visit: (view: WeightView) => void,
): Promise<void> {
  const { at } = ref;
  const host = layout.at === null && at !== undefined && ref.resident === undefined ? undefined : await load(ref);
  for (const [from, count] of stretchesOf(layout, multiple)) {
    if (host !== undefined) visit(stretchView(layout, host, from, count));
    else if (at !== undefined) {
      const before = byteLengthOf(ref.dtype, from * layout.columns);
      const bytes = await at.source.read(at.offset + before, byteLengthOf(ref.dtype, count * layout.columns));
      visit(viewOf(layout, tensor(ref.dtype, [count, layout.columns], bytes), from));
    }
  }
}

function gather({ at, columns }: Layout, host: HostTensor, from: number, count: number): Uint8Array {
  const source = storedElements(host);
  const bytes = new Uint8Array(byteLengthOf(host.dtype, count * columns));
  if (at === null) return bytes;
  const target = storedElements({ dtype: host.dtype, shape: [], bytes });
  const { row, column } = at;
  // In tiles, since either the source or the target is read across its lines.
  for (let r0 = 0; r0 < count; r0 += tile) {
    const r1 = Math.min(count, r0 + tile);
    for (let c0 = 0; c0 < columns; c0 += tile) {
      const c1 = Math.min(columns, c0 + tile);
      for (let r = r0; r < r1; r++) {
        const start = row[from + r] ?? 0;
        for (let c = c0; c < c1; c++) target[r * columns + c] = source[start + (column[c] ?? 0)] ?? 0;
      }
    }
  }
  return bytes;
}

/** Sets what a mask [count, columns] leaves out to exact zeros, from row `from` on. Changes `elements`. */
export function zeroStretch(layout: Layout, elements: Elements, from: number, count: number, keep: Uint8Array): void {
  const { at, columns } = layout;
  if (at === null) {
    const start = from * columns;
    if (elements instanceof Float64Array) {
      for (let i = 0; i < keep.length; i++) if (keep[i] === 0) elements[start + i] = 0;
      return;
    }
    // Without branches: which weights stay is random here.
    for (let i = 0; i < keep.length; i++) elements[start + i] = (elements[start + i] ?? 0) & -(keep[i] ?? 0);
    return;
  }
  for (let r0 = 0; r0 < count; r0 += tile) {
    const r1 = Math.min(count, r0 + tile);
    for (let c0 = 0; c0 < columns; c0 += tile) {
      const c1 = Math.min(columns, c0 + tile);
      for (let r = r0; r < r1; r++) {
        const start = at.row[from + r] ?? 0;
        for (let c = c0; c < c1; c++) if (keep[r * columns + c] === 0) elements[start + (at.column[c] ?? 0)] = 0;
      }
    }
  }
}
