import { bitsOf, type DType } from "./dtype.ts";
import { EspalierError } from "./error.ts";
import { pack, unpack } from "./numeric.ts";
import { formatShape, type HostTensor, type Shape, sizeOf, tensor } from "./tensor.ts";

/** Which indices of an axis to take, in the order in which they come out; repeats are allowed. */
export interface AxisCut {
  /** Counts from the end when negative. */
  readonly axis: number;
  readonly indices: Int32Array;
}

/** The tensor with the given indices of one axis. Any type but strings. Throws `shape`. */
export function takeAlong(t: HostTensor, axis: number, indices: Int32Array): HostTensor {
  return takeMany(t, [{ axis, indices }]);
}

/** The tensor with the given indices of several axes, in one pass over the result. Throws `shape`. */
export function takeMany(t: HostTensor, cuts: readonly AxisCut[]): HostTensor {
  const byAxis = new Map<number, Int32Array>();
  for (const { axis, indices } of cuts) {
    const positive = axis < 0 ? axis + t.shape.length : axis;
    check(t, positive, indices);
    if (byAxis.has(positive))
      throw new EspalierError("shape", describe(t), `expected one cut of axis ${axis}, got two.`);
    byAxis.set(positive, indices);
  }
  const last = Math.max(-1, ...byAxis.keys());
  const lastIndices = byAxis.get(last);
  if (lastIndices === undefined) return t;

  const shape = t.shape.map((n, axis) => byAxis.get(axis)?.length ?? n);
  const { source, width } = words(t);
  const inner = sizeOf(t.shape.slice(last + 1)) * width;
  const { starts, lengths } = runs(lastIndices, inner);
  const taken = lastIndices.length * inner;
  const scattered = taken < shortRun * starts.length ? offsets(starts, lengths, taken) : undefined;
  const out = emptyLike(source, sizeOf(shape) * width);
  const outerAxes = t.shape.slice(0, last);
  let written = 0;

  function copyLine(from: number): void {
    if (scattered === undefined) copyRuns(source, from, starts, lengths, out, written);
    else copyWords(source, from, scattered, out, written);
    written += taken;
  }

  function walk(axis: number, from: number): void {
    const size = outerAxes[axis];
    if (size === undefined) {
      copyLine(from * (t.shape[last] ?? 1) * inner);
      return;
    }
    const indices = byAxis.get(axis);
    const count = indices?.length ?? size;
    for (let i = 0; i < count; i++) walk(axis + 1, from * size + (indices === undefined ? i : (indices[i] ?? 0)));
  }

  if (out.length > 0) walk(0, 0);
  return fromWords(t.dtype, shape, out);
}

/** Words in a run, on average, below which each is looked up by itself. */
const shortRun = 24;

/** Words in a run above which a view for a bulk copy costs less than moving them one by one. */
const longRun = 48;

function copyRuns(
  source: Words,
  from: number,
  starts: Int32Array,
  lengths: Int32Array,
  out: Words,
  written: number,
): void {
  let to = written;
  for (let r = 0; r < starts.length; r++) {
    const start = from + (starts[r] ?? 0);
    const length = lengths[r] ?? 0;
    if (length > longRun) out.set(source.subarray(start, start + length), to);
    else for (let i = 0; i < length; i++) out[to + i] = source[start + i] ?? 0;
    to += length;
  }
}

function copyWords(source: Words, from: number, at: Int32Array, out: Words, written: number): void {
  for (let i = 0; i < at.length; i++) out[written + i] = source[from + (at[i] ?? 0)] ?? 0;
}

/** Where each word of the runs lies. */
function offsets(starts: Int32Array, lengths: Int32Array, count: number): Int32Array {
  const at = new Int32Array(count);
  for (let r = 0, to = 0; r < starts.length; r++) {
    for (let i = 0; i < (lengths[r] ?? 0); i++) at[to++] = (starts[r] ?? 0) + i;
  }
  return at;
}

/** Which indices of an axis to take where that depends on the position on other axes. */
export interface AcrossCut {
  readonly axis: number;
  /** What each position of the other axes adds to the number of the set. */
  readonly by: readonly { readonly axis: number; readonly set: Int32Array }[];
  /** Indices to take in a set; as many in each. */
  readonly indices: (set: number) => Int32Array;
}

/** The tensor with, along one axis, the indices that the position on other axes asks for. Throws `shape`. */
export function takeAcross(t: HostTensor, { axis, by, indices }: AcrossCut): HostTensor {
  const { source, width } = words(t);
  const count = indices(0).length;
  const shape = t.shape.map((n, i) => (i === axis ? count : n));
  const out = emptyLike(source, sizeOf(shape) * width);
  // Inside the last axis that matters, neighbours move together.
  const last = Math.max(axis, ...by.map((each) => each.axis));
  const inner = sizeOf(t.shape.slice(last + 1)) * width;
  const stride = sizeOf(t.shape.slice(axis + 1)) * width;
  const sets = t.shape.map((_, i) => by.find((each) => each.axis === i)?.set);
  let written = 0;

  // `set` may still grow after `axis` is passed, so the index on it is remembered until all of the set is known.
  function walk(depth: number, from: number, set: number, index: number): void {
    if (depth > last) {
      const start = from * inner + (indices(set)[index] ?? 0) * stride;
      for (let i = 0; i < inner; i++) out[written++] = source[start + i] ?? 0;
      return;
    }
    if (depth === axis && axis === last) {
      const list = indices(set);
      for (let j = 0; j < count; j++) {
        const start = (from * (t.shape[axis] ?? 1) + (list[j] ?? 0)) * inner;
        for (let i = 0; i < inner; i++) out[written++] = source[start + i] ?? 0;
      }
      return;
    }
    const size = t.shape[depth] ?? 1;
    if (depth === axis) {
      for (let i = 0; i < count; i++) walk(depth + 1, from * size, set, i);
      return;
    }
    for (let i = 0; i < size; i++) walk(depth + 1, from * size + i, set + (sets[depth]?.[i] ?? 0), index);
  }

  check(t, axis, indices(0));
  if (out.length > 0) walk(0, 0, 0, 0);
  return fromWords(t.dtype, shape, out);
}

/** The tensor with its axes in another order: axis i of the result is axis `order[i]` of the tensor. Throws `shape`. */
export function transpose(t: HostTensor, order: readonly number[]): HostTensor {
  const { shape } = t;
  if (order.length !== shape.length || shape.some((_, axis) => !order.includes(axis))) {
    const wanted = formatShape(shape.map((_, axis) => axis));
    throw new EspalierError(
      "shape",
      describe(t),
      `expected an order of the axes ${wanted}, got ${formatShape(order)}.`,
    );
  }
  const { source, width } = words(t);
  const strides = new Array<number>(shape.length);
  let stride = width;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis] ?? 1;
  }
  const axes = merged(order.map((axis) => ({ size: shape[axis] ?? 1, stride: strides[axis] ?? 0 })));
  if (width > 1) axes.push({ size: width, stride: 1 });
  const out = emptyLike(source, source.length);
  const [rows = one, columns = one] = axes.slice(-2);
  const area = rows.size * columns.size;
  let written = 0;

  function walk(axis: number, from: number): void {
    const outer = axes[axis];
    if (outer === undefined || axis >= axes.length - 2) {
      copyPlane(source, out, from, written, axes.length === 1 ? one : rows, axes.length === 1 ? rows : columns);
      written += area;
      return;
    }
    for (let i = 0; i < outer.size; i++) walk(axis + 1, from + i * outer.stride);
  }

  if (out.length > 0) walk(0, 0);
  return fromWords(
    t.dtype,
    order.map((axis) => shape[axis] ?? 1),
    out,
  );
}

type Words = Uint8Array | Uint16Array | Uint32Array | Int8Array;

interface Axis {
  readonly size: number;
  readonly stride: number;
}

const one: Axis = { size: 1, stride: 0 };

/** Writes a matrix row by row, in tiles, so that a column-wise source stays in the cache. */
function copyPlane(source: Words, out: Words, from: number, to: number, rows: Axis, columns: Axis): void {
  const tile = 32;
  for (let r0 = 0; r0 < rows.size; r0 += tile) {
    const r1 = Math.min(rows.size, r0 + tile);
    for (let c0 = 0; c0 < columns.size; c0 += tile) {
      const c1 = Math.min(columns.size, c0 + tile);
      for (let r = r0; r < r1; r++) {
        const at = to + r * columns.size;
        const base = from + r * rows.stride;
        for (let c = c0; c < c1; c++) out[at + c] = source[base + c * columns.stride] ?? 0;
      }
    }
  }
}

/** Joins neighbours that lie together in the source too, and drops axes of size 1. */
function merged(axes: readonly Axis[]): Axis[] {
  const out: Axis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const before = out.at(-1);
    if (before !== undefined && before.stride === axis.stride * axis.size) {
      out[out.length - 1] = { size: before.size * axis.size, stride: axis.stride };
    } else out.push(axis);
  }
  return out;
}

/** Start and length, in words, of the stretches of neighbouring indices. */
function runs(indices: Int32Array, inner: number): { starts: Int32Array; lengths: Int32Array } {
  const starts: number[] = [];
  const lengths: number[] = [];
  for (let i = 0; i < indices.length; ) {
    const first = indices[i] ?? 0;
    let count = 1;
    while (i + count < indices.length && indices[i + count] === first + count) count++;
    starts.push(first * inner);
    lengths.push(count * inner);
    i += count;
  }
  return { starts: Int32Array.from(starts), lengths: Int32Array.from(lengths) };
}

/** The elements as integers of at most 4 bytes, `width` of them per element; floats would not keep every NaN. */
function words(t: HostTensor): { source: Words; width: number } {
  const bits = bitsOf(t.dtype);
  if (bits === 0) throw new EspalierError("model", describe(t), "expected elements of fixed size, got strings.");
  tensor(t.dtype, t.shape, t.bytes);
  if (bits < 8) return { source: unpack(t.dtype, t.bytes, sizeOf(t.shape)), width: 1 };
  const size = Math.min(4, bits / 8);
  const { buffer, byteOffset, byteLength } = t.bytes.byteOffset % size === 0 ? t.bytes : t.bytes.slice();
  const width = bits / 8 / size;
  if (size === 1) return { source: t.bytes, width };
  if (size === 2) return { source: new Uint16Array(buffer, byteOffset, byteLength / 2), width };
  return { source: new Uint32Array(buffer, byteOffset, byteLength / 4), width };
}

function emptyLike(source: Words, length: number): Words {
  if (source instanceof Uint32Array) return new Uint32Array(length);
  if (source instanceof Uint16Array) return new Uint16Array(length);
  return source instanceof Int8Array ? new Int8Array(length) : new Uint8Array(length);
}

function fromWords(dtype: DType, shape: Shape, source: Words): HostTensor {
  if (source instanceof Int8Array) return tensor(dtype, shape, pack(dtype, source));
  return tensor(dtype, shape, new Uint8Array(source.buffer, source.byteOffset, source.byteLength));
}

function check(t: HostTensor, axis: number, indices: Int32Array): void {
  const size = t.shape[axis];
  if (size === undefined) throw new EspalierError("shape", describe(t), `expected an axis of it, got ${axis}.`);
  for (const index of indices) {
    if (index >= 0 && index < size) continue;
    throw new EspalierError("shape", describe(t), `expected indices of axis ${axis} below ${size}, got ${index}.`);
  }
}

function describe(t: HostTensor): string {
  return `tensor ${formatShape(t.shape)} of ${t.dtype}`;
}
