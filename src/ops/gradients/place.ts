import type { Algebra, Range, Value } from "../../graph/algebra/algebra.ts";
import { int, string } from "../../graph/attributes.ts";
import { type Shape, sizeOf } from "../../tensor/tensor.ts";

/** Puts `gap` zeros behind every position of an axis. */
function spaced(g: Algebra, x: Value, axis: number, gap: number): Value {
  const [outer, n, inner] = [sizeOf(x.shape.slice(0, axis)), x.shape[axis] ?? 1, sizeOf(x.shape.slice(axis + 1))];
  const rows = outer * n;
  // Padding copies row by row, which is slow for rows of a few elements: these all get their zeros at once, far behind them.
  const wide =
    inner < 8
      ? g.transpose(g.pad(g.reshape(x, [1, rows, inner]), [0, 0, 0], [gap, 0, 0]), [1, 0, 2])
      : g.pad(g.reshape(x, [rows, 1, inner]), [0, 0, 0], [0, gap, 0]);
  return g.reshape(
    wide,
    x.shape.map((size, i) => (i === axis ? size * (gap + 1) : size)),
  );
}

/** Puts the elements that `cut` took from a value of `shape` back in their places, with zeros in all others. */
export function putBack(g: Algebra, part: Value, shape: Shape, ranges: readonly Range[]): Value {
  let value = part;
  const before = shape.map(() => 0);
  const after = shape.map(() => 0);
  for (const { axis, start, step } of ranges) {
    const count = part.shape[axis] ?? 0;
    const size = shape[axis] ?? 0;
    if (count === 0) return g.expand(0, shape, part.dtype);
    if (step < 0) value = g.slice(value, axis, count - 1, -1, -1);
    const gap = Math.abs(step) - 1;
    if (gap > 0 && count > 1) value = spaced(g, value, axis, gap);
    const first = step < 0 ? start + step * (count - 1) : start;
    before[axis] = first;
    after[axis] = size - first - (value.shape[axis] ?? 0);
  }
  // The zeros behind the last position may reach past the end.
  const fitting = g.cut(
    value,
    after.map((n, axis) => ({ axis, start: 0, end: (value.shape[axis] ?? 0) + Math.min(n, 0), step: 1 })),
  );
  return g.pad(
    fitting,
    before,
    after.map((n) => Math.max(n, 0)),
  );
}

/** Neighbours in a list of positions with one step between them. */
interface Run {
  readonly start: number;
  readonly length: number;
  readonly step: number;
}

/** The list as runs of steps −1, 0 and 1; undefined where there are more than `most`. */
function runsOf(positions: readonly number[], most: number): readonly Run[] | undefined {
  const runs: Run[] = [];
  for (let i = 0; i < positions.length; ) {
    const start = positions[i] ?? 0;
    const step = (positions[i + 1] ?? Number.NaN) - start;
    let length = 1;
    if (Math.abs(step) <= 1)
      while (i + length < positions.length && positions[i + length] === start + length * step) length++;
    runs.push({ start, length, step: length === 1 ? 1 : step });
    if (runs.length > most) return undefined;
    i += length;
  }
  return runs;
}

/**
 * The gradient of a value of `size` positions on an axis, of which the parts of `dy` were looked up at known `positions`.
 * Few runs are moved as slices, many are added up one by one.
 */
export function sendBack(g: Algebra, dy: Value, axis: number, positions: readonly number[], size: number): Value {
  const shape = dy.shape.map((n, i) => (i === axis ? size : n));
  const runs = runsOf(positions, mostRuns);
  if (runs === undefined) return scatterAlong(g, dy, g.int64(positions), axis, shape);
  let from = 0;
  const parts = runs.map(({ start, length, step }) => {
    const part = g.slice(dy, axis, from, from + length);
    from += length;
    if (step !== 0) return putBack(g, part, shape, [{ axis, start, end: start + length * step, step }]);
    return putBack(g, g.sum(part, [axis], true), shape, [{ axis, start, end: start + 1, step: 1 }]);
  });
  return parts.length === 0 ? g.expand(0, shape, dy.dtype) : g.total(parts);
}

/** Runs up to which slices are worth it. */
const mostRuns = 6;

/** Adds position i of `dy` on an axis to position `positions[i]` of zeros of `shape`. positions: [n]. */
function scatterAlong(g: Algebra, dy: Value, positions: Value, axis: number, shape: Shape): Value {
  const order = [axis, ...shape.map((_, i) => i).filter((i) => i !== axis)];
  const moved = g.transpose(dy, order);
  const rows = g.reshape(moved, [moved.shape[0] ?? 1, sizeOf(moved.shape.slice(1))]);
  const sums = addRows(g, rows, positions, shape[axis] ?? 1);
  const back = order.map((_, i) => order.indexOf(i));
  return g.transpose(g.reshape(sums, [shape[axis] ?? 1, ...moved.shape.slice(1)]), back);
}

/**
 * Adds rows to zeros: rows: [n, width] at positions: [n] → [count, width]. ScatterND takes a hundredth of the time of
 * ScatterElements, but on the CPU it adds from several threads at once, and may lose what they add to one row. Below so
 * many elements it stays on one thread, so columns are added in groups.
 */
export function addRows(g: Algebra, rows: Value, positions: Value, count: number): Value {
  const [n = 1, width = 1] = rows.shape;
  const zeros = (columns: number): Value => g.expand(0, [count, columns], rows.dtype);
  if (n > elementsOfOneThread) {
    return addElements(g, zeros(width), g.expand(g.reshape(positions, [n, 1]), [n, width]), rows, 0);
  }
  const columns = Math.max(1, Math.floor(elementsOfOneThread / Math.max(n, 1)));
  const at = g.cast(g.reshape(positions, [n, 1]), "i64");
  const parts: Value[] = [];
  for (let from = 0; from < width; from += columns) {
    const part = g.slice(rows, 1, from, Math.min(from + columns, width));
    const data = zeros(part.shape[1] ?? 1);
    parts.push(g.op("ScatterND", [data, at, part], { reduction: string("add") }, data));
  }
  return g.concat(parts, 1);
}

/** Half of the elements at which ONNX Runtime 1.30 starts a second thread. */
const elementsOfOneThread = 100_000;

/** Adds elements of `updates` to elements of `data`: at `indices` on one axis, in their own places on the others. */
export function addElements(g: Algebra, data: Value, indices: Value, updates: Value, axis: number): Value {
  const attributes = { axis: int(axis), reduction: string("add") };
  return g.op("ScatterElements", [data, indices, updates], attributes, data);
}

/**
 * The gradient of a value of `shape` whose positions on an axis were looked up by `indices`, of any shape, that are only
 * known at run time. dy has the axes of the indices in the place of that axis.
 */
export function sendBackLookups(g: Algebra, dy: Value, indices: Value, axis: number, shape: Shape): Value {
  const count = sizeOf(indices.shape);
  const flat = g.reshape(dy, [...shape.slice(0, axis), count, ...shape.slice(axis + 1)]);
  return scatterAlong(g, flat, g.reshape(indices, [count]), axis, shape);
}

/**
 * Positions in row-major order of what `indices` name: each list on the last axis names a place on the axes behind the
 * first `batch`, which they share with the data. indices: [...batch, ..., k] → [elements / k].
 */
export function rowsNamed(g: Algebra, indices: Value, shape: Shape, batch: number): Value {
  const depth = indices.shape.at(-1) ?? 1;
  const sizes = shape.slice(batch, batch + depth);
  const strides = sizes.map((_, i) => sizeOf(sizes.slice(i + 1)));
  const whole = g.where(g.less(indices, 0), g.add(indices, g.int64(sizes)), indices);
  const places = g.sum(g.mul(whole, g.int64(strides)), [-1]);
  if (batch === 0) return g.reshape(places, [sizeOf(places.shape)]);
  const batches = sizeOf(shape.slice(0, batch));
  const first = g.int64(
    Array.from({ length: batches }, (_, i) => i * sizeOf(sizes)),
    [batches, 1],
  );
  const each = g.reshape(places, [batches, sizeOf(places.shape) / batches]);
  return g.reshape(g.add(each, first), [sizeOf(places.shape)]);
}
