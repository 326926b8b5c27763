import { EspalierError } from "../error.ts";

/** Part of a row-major float64 matrix: element (i, j) is `data[at + i * stride + j]`. */
export interface MatrixView {
  readonly data: Float64Array;
  readonly at: number;
  readonly stride: number;
}

/** Rows of b, and columns, that are multiplied at a time: 128 KB. */
const blockCols = 64;
const blockDepth = 256;

/** a · b. a: [m, k], b: [k, n] → [m, n]. */
export function matMul(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  checkMatrix("right factor", b, k, n);
  return matMulTransposed(a, transposed(b, k, n), m, k, n);
}

/** a · bᵀ. a: [m, k], b: [n, k] → [m, n]. */
export function matMulTransposed(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  checkMatrix("left factor", a, m, k);
  checkMatrix("right factor", b, n, k);
  const c = new Float64Array(m * n);
  addProduct(view(c, n), view(a, k), view(b, k), m, n, k, 1);
  return c;
}

/** xᵀ · x, the Gram matrix of the columns. x: [rows, cols] → [cols, cols]. */
export function gram(x: Float64Array, rows: number, cols: number): Float64Array {
  checkMatrix("matrix", x, rows, cols);
  const t = transposed(x, rows, cols);
  const c = new Float64Array(cols * cols);
  addSymmetricProduct(c, t, cols, rows);
  return c;
}

/** The transposed matrix. a: [rows, cols] → [cols, rows]. */
export function transposed(a: Float64Array, rows: number, cols: number): Float64Array {
  const out = new Float64Array(a.length);
  const tile = 16;
  for (let i0 = 0; i0 < rows; i0 += tile) {
    for (let j0 = 0; j0 < cols; j0 += tile) {
      for (let i = i0; i < Math.min(rows, i0 + tile); i++) {
        for (let j = j0; j < Math.min(cols, j0 + tile); j++) out[j * rows + i] = a[i * cols + j] ?? 0;
      }
    }
  }
  return out;
}

/** Sum of products of two stretches. */
export function dot(a: Float64Array, aAt: number, b: Float64Array, bAt: number, length: number): number {
  let even = 0;
  let odd = 0;
  let k = 0;
  for (; k + 1 < length; k += 2) {
    even += (a[aAt + k] ?? 0) * (b[bAt + k] ?? 0);
    odd += (a[aAt + k + 1] ?? 0) * (b[bAt + k + 1] ?? 0);
  }
  if (k < length) even += (a[aAt + k] ?? 0) * (b[bAt + k] ?? 0);
  return even + odd;
}

export function view(data: Float64Array, stride: number, row = 0, col = 0): MatrixView {
  return { data, at: row * stride + col, stride };
}

/** c += sign · a · aᵀ for a: [n, k], both triangles of c: [n, n]. */
export function addSymmetricProduct(c: Float64Array, a: Float64Array, n: number, k: number, upper = false): void {
  const block = 64;
  for (let i0 = 0; i0 < n; i0 += block) {
    const rows = Math.min(block, n - i0);
    for (let j0 = 0; j0 <= i0; j0 += block) {
      // Rows of an upper triangular matrix start with zeros, which need no product.
      const from = upper ? i0 : 0;
      const cols = Math.min(block, n - j0);
      addProduct(view(c, n, i0, j0), view(a, k, i0, from), view(a, k, j0, from), rows, cols, k - from, 1);
    }
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) c[j * n + i] = c[i * n + j] ?? 0;
}

/**
 * c += sign · a · bᵀ, the kernel below everything here: rows of both factors are contiguous.
 * a: [m, depth], b: [n, depth], c: [m, n]. The rows of b in use are packed: at strides of a power of two they would
 * push each other out of the cache.
 */
export function addProduct(
  c: MatrixView,
  a: MatrixView,
  b: MatrixView,
  m: number,
  n: number,
  depth: number,
  sign: 1 | -1,
): void {
  const packed = m < 8 ? undefined : new Float64Array(Math.min(blockCols, n) * Math.min(blockDepth, depth));
  for (let k0 = 0; k0 < depth; k0 += blockDepth) {
    const k = Math.min(blockDepth, depth - k0);
    for (let j0 = 0; j0 < n; j0 += blockCols) {
      const cols = Math.min(blockCols, n - j0);
      const from = b.at + j0 * b.stride + k0;
      if (packed !== undefined) {
        for (let j = 0; j < cols; j++) copy(b.data, from + j * b.stride, packed, j * k, k);
      }
      const rows = packed === undefined ? { ...b, at: from } : { data: packed, at: 0, stride: k };
      for (let i = 0; i < m; i += 4) {
        const left = { ...a, at: a.at + i * a.stride + k0 };
        const out = { ...c, at: c.at + i * c.stride + j0 };
        if (i + 4 <= m) fourRows(out, left, rows, cols, k, sign);
        else for (let r = i; r < m; r++) someRows(out, left, rows, r - i, 0, cols, k, sign);
      }
    }
  }
}

function copy(from: Float64Array, at: number, to: Float64Array, toAt: number, length: number): void {
  for (let i = 0; i < length; i++) to[toAt + i] = from[at + i] ?? 0;
}

/** Row r of a against rows j0 to cols of b, one sum at a time. */
function someRows(
  c: MatrixView,
  a: MatrixView,
  b: MatrixView,
  r: number,
  j0: number,
  cols: number,
  depth: number,
  sign: 1 | -1,
): void {
  for (let j = j0; j < cols; j++) {
    const at = c.at + r * c.stride + j;
    const sum = dot(a.data, a.at + r * a.stride, b.data, b.at + j * b.stride, depth);
    c.data[at] = (c.data[at] ?? 0) + sign * sum;
  }
}

/** Four rows of a against pairs of rows of b: eight sums in registers. */
function fourRows(c: MatrixView, a: MatrixView, b: MatrixView, cols: number, depth: number, sign: 1 | -1): void {
  const x = a.data;
  const y = b.data;
  const out = c.data;
  const r0 = a.at;
  const r1 = r0 + a.stride;
  const r2 = r1 + a.stride;
  const r3 = r2 + a.stride;
  let j = 0;
  for (; j + 2 <= cols; j += 2) {
    const q0 = b.at + j * b.stride;
    const q1 = q0 + b.stride;
    let s00 = 0;
    let s01 = 0;
    let s10 = 0;
    let s11 = 0;
    let s20 = 0;
    let s21 = 0;
    let s30 = 0;
    let s31 = 0;
    for (let k = 0; k < depth; k++) {
      const u = y[q0 + k] ?? 0;
      const v = y[q1 + k] ?? 0;
      const x0 = x[r0 + k] ?? 0;
      s00 += x0 * u;
      s01 += x0 * v;
      const x1 = x[r1 + k] ?? 0;
      s10 += x1 * u;
      s11 += x1 * v;
      const x2 = x[r2 + k] ?? 0;
      s20 += x2 * u;
      s21 += x2 * v;
      const x3 = x[r3 + k] ?? 0;
      s30 += x3 * u;
      s31 += x3 * v;
    }
    const at = c.at + j;
    add(out, at, sign * s00, sign * s01);
    add(out, at + c.stride, sign * s10, sign * s11);
    add(out, at + 2 * c.stride, sign * s20, sign * s21);
    add(out, at + 3 * c.stride, sign * s30, sign * s31);
  }
  for (let r = 0; r < 4; r++) someRows(c, a, b, r, j, cols, depth, sign);
}

function add(out: Float64Array, at: number, first: number, second: number): void {
  out[at] = (out[at] ?? 0) + first;
  out[at + 1] = (out[at + 1] ?? 0) + second;
}

/** Throws `shape` unless the array has rows · cols elements. */
export function checkMatrix(what: string, a: Float64Array, rows: number, cols: number): void {
  if (a.length === rows * cols) return;
  throw new EspalierError("shape", what, `expected [${rows}, ${cols}], got ${a.length} numbers.`);
}

/** Mean of the entries of a diagonal that are not zero, the unit in which damping is given. a: [n, n]. */
export function meanDiagonal(a: Float64Array, n: number): number {
  let [sum, count] = [0, 0];
  for (let i = 0; i < n; i++) {
    const entry = a[i * n + i] ?? 0;
    sum += entry;
    count += +(entry !== 0);
  }
  return count === 0 ? 0 : sum / count;
}
