import { EspalierError } from "../error.ts";
import { checkMatrix, dot, transposed } from "./matrix.ts";

/** A = Vᵀ diag(values) V. Values descend; row i of `vectors` belongs to value i. */
export interface Eigen {
  readonly values: Float64Array;
  /** [n, n], orthonormal rows. */
  readonly vectors: Float64Array;
}

/** A = U diag(values) Vᵀ with k = min(m, n). Values descend. */
export interface Svd {
  /** [k, m]: row i is the left vector of value i, zeros for value 0. */
  readonly left: Float64Array;
  readonly values: Float64Array;
  /** [k, n]: row i is the right vector of value i. */
  readonly right: Float64Array;
}

/** Eigenvalues and eigenvectors of a symmetric matrix: Householder to a band of three, then implicit QR. a: [n, n]. */
export function symmetricEigen(a: Float64Array, n: number): Eigen {
  checkMatrix("symmetric matrix", a, n, n);
  const scale = magnitude(a);
  const { diagonal, beside, rows } = tridiagonal(
    a.map((x) => x / scale),
    n,
  );
  diagonalise(diagonal, beside, rows, n);
  return sorted(
    diagonal.map((x) => x * scale),
    rows,
    n,
  );
}

/** Singular values and vectors, by one-sided Jacobi rotations: accurate, meant for up to a few hundred columns. a: [m, n]. */
export function svd(a: Float64Array, m: number, n: number): Svd {
  checkMatrix("matrix", a, m, n);
  const scale = magnitude(a);
  if (m < n) {
    const { left, values, right } = svd(transposed(a, m, n), n, m);
    return { left: right, values, right: left };
  }
  const columns = transposed(a, m, n).map((x) => x / scale);
  const v = identity(n);
  for (let sweep = 0; sweep < 60; sweep++) if (!jacobiSweep(columns, v, m, n)) break;
  const squares = Float64Array.from({ length: n }, (_, j) => dot(columns, j * m, columns, j * m, m));
  const order = descending(squares);
  const left = new Float64Array(n * m);
  const right = new Float64Array(n * n);
  const values = new Float64Array(n);
  order.forEach((j, i) => {
    const value = Math.sqrt(squares[j] ?? 0);
    values[i] = value * scale;
    for (let k = 0; k < m; k++) left[i * m + k] = value === 0 ? 0 : (columns[j * m + k] ?? 0) / value;
    right.set(v.subarray(j * n, (j + 1) * n), i * n);
  });
  return { left, values, right };
}

/** Makes every pair of columns (stored as rows) orthogonal once; says whether any still was not. */
function jacobiSweep(columns: Float64Array, v: Float64Array, m: number, n: number): boolean {
  let turned = false;
  for (let p = 0; p < n - 1; p++) {
    for (let q = p + 1; q < n; q++) {
      const alpha = dot(columns, p * m, columns, p * m, m);
      const beta = dot(columns, q * m, columns, q * m, m);
      const gamma = dot(columns, p * m, columns, q * m, m);
      if (Math.abs(gamma) <= 1e-15 * Math.sqrt(alpha * beta) || gamma === 0) continue;
      turned = true;
      const zeta = (beta - alpha) / (2 * gamma);
      const t = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
      const c = 1 / Math.sqrt(1 + t * t);
      rotate(columns, p * m, q * m, m, c, -c * t);
      rotate(v, p * n, q * n, n, c, -c * t);
    }
  }
  return turned;
}

/** A = Q T Qᵀ with T of three diagonals; rows: Qᵀ. Overwrites a. */
function tridiagonal(a: Float64Array, n: number): { diagonal: Float64Array; beside: Float64Array; rows: Float64Array } {
  const diagonal = new Float64Array(n);
  const beside = new Float64Array(n);
  const scales = new Float64Array(n);
  const p = new Float64Array(n);
  for (let k = 0; k < n - 1; k++) {
    const at = k * n + k + 1;
    const length = n - k - 1;
    const first = a[at] ?? 0;
    const norm = Math.sqrt(dot(a, at, a, at, length));
    diagonal[k] = a[k * n + k] ?? 0;
    const image = first > 0 ? -norm : norm;
    beside[k] = image;
    if (norm === 0 || length === 1) {
      beside[k] = first;
      continue;
    }
    // Row k keeps the reflection I - scale v vᵀ, which the rest of the matrix takes from both sides.
    a[at] = first - image;
    const scale = 1 / (image * (image - first));
    scales[k] = scale;
    for (let i = 0; i < length; i++) p[i] = scale * dot(a, (k + 1 + i) * n + k + 1, a, at, length);
    const half = (scale / 2) * dot(p, 0, a, at, length);
    for (let i = 0; i < length; i++) p[i] = (p[i] ?? 0) - half * (a[at + i] ?? 0);
    for (let i = 0; i < length; i++) {
      const row = (k + 1 + i) * n + k + 1;
      const vi = a[at + i] ?? 0;
      const pi = p[i] ?? 0;
      for (let j = 0; j < length; j++) a[row + j] = (a[row + j] ?? 0) - vi * (p[j] ?? 0) - pi * (a[at + j] ?? 0);
    }
  }
  if (n > 0) diagonal[n - 1] = a[n * n - 1] ?? 0;
  // Qᵀ = ... H₁ H₀: built from the last reflection on, so that each touches only the part already filled.
  const rows = identity(n);
  for (let k = n - 3; k >= 0; k--) {
    const scale = scales[k] ?? 0;
    if (scale === 0) continue;
    const at = k * n + k + 1;
    const length = n - k - 1;
    for (let i = 0; i < length; i++) {
      const row = (k + 1 + i) * n + k + 1;
      const factor = scale * dot(rows, row, a, at, length);
      for (let j = 0; j < length; j++) rows[row + j] = (rows[row + j] ?? 0) - factor * (a[at + j] ?? 0);
    }
  }
  return { diagonal, beside, rows };
}

/** Implicit QR steps with Wilkinson's shift until the outer diagonals vanish; rows turn along. */
function diagonalise(d: Float64Array, e: Float64Array, rows: Float64Array, n: number): void {
  let budget = 60 * n;
  for (let high = n - 1; high > 0; ) {
    let low = high;
    while (low > 0 && !negligible(d, e, low - 1)) low--;
    if (low < high && budget-- > 0) qrStep(d, e, rows, low, high, n);
    else high--;
  }
}

function negligible(d: Float64Array, e: Float64Array, i: number): boolean {
  const scale = Math.abs(d[i] ?? 0) + Math.abs(d[i + 1] ?? 0);
  return Math.abs(e[i] ?? 0) <= Number.EPSILON * scale || Math.abs(e[i] ?? 0) < Number.MIN_VALUE * 2 ** 52;
}

function qrStep(d: Float64Array, e: Float64Array, rows: Float64Array, low: number, high: number, n: number): void {
  const last = e[high - 1] ?? 0;
  const delta = ((d[high - 1] ?? 0) - (d[high] ?? 0)) / 2;
  const root = Math.hypot(delta, last);
  const shift = (d[high] ?? 0) - (last / (delta + (delta < 0 ? -root : root))) * last;
  let x = (d[low] ?? 0) - shift;
  let bulge = e[low] ?? 0;
  for (let k = low; k < high; k++) {
    const r = Math.hypot(x, bulge);
    const c = r === 0 ? 1 : x / r;
    const s = r === 0 ? 0 : bulge / r;
    if (k > low) e[k - 1] = r;
    const a = d[k] ?? 0;
    const b = e[k] ?? 0;
    const z = d[k + 1] ?? 0;
    d[k] = c * c * a + 2 * c * s * b + s * s * z;
    d[k + 1] = s * s * a - 2 * c * s * b + c * c * z;
    e[k] = c * s * (z - a) + (c * c - s * s) * b;
    if (k + 1 < high) {
      x = e[k] ?? 0;
      bulge = s * (e[k + 1] ?? 0);
      e[k + 1] = c * (e[k + 1] ?? 0);
    }
    rotate(rows, k * n, (k + 1) * n, n, c, s);
  }
}

/** (p, q) becomes (c p + s q, c q - s p). */
function rotate(data: Float64Array, p: number, q: number, length: number, c: number, s: number): void {
  for (let i = 0; i < length; i++) {
    const x = data[p + i] ?? 0;
    const y = data[q + i] ?? 0;
    data[p + i] = c * x + s * y;
    data[q + i] = c * y - s * x;
  }
}

function sorted(values: Float64Array, rows: Float64Array, n: number): Eigen {
  const order = descending(values);
  const vectors = new Float64Array(n * n);
  order.forEach((j, i) => {
    vectors.set(rows.subarray(j * n, (j + 1) * n), i * n);
  });
  return { values: Float64Array.from(order, (j) => values[j] ?? 0), vectors };
}

function descending(values: Float64Array): number[] {
  return Array.from(values, (_, i) => i).sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0) || a - b);
}

function identity(n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) out[i * n + i] = 1;
  return out;
}

/** A power of two near the largest entry: dividing by it is exact and keeps squares from overflow. Throws `data`. */
function magnitude(a: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const entry = Math.abs(a[i] ?? 0);
    if (!Number.isFinite(entry)) {
      throw new EspalierError("data", "matrix", `expected finite numbers, got ${a[i]} at ${i}.`);
    }
    if (entry > largest) largest = entry;
  }
  return largest === 0 ? 1 : 2 ** Math.floor(Math.log2(largest));
}
