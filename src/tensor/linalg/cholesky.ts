import { EspalierError } from "../error.ts";
import { addProduct, addSymmetricProduct, checkMatrix, dot, transposed, view } from "./matrix.ts";

/** A = L Lᵀ of a symmetric positive definite matrix. lower: [n, n], row-major, zeros above the diagonal. */
export interface Factor {
  readonly n: number;
  readonly lower: Float64Array;
}

/** What it took to factorise a matrix that may be singular. */
export interface Damping {
  /** What was added to the diagonal, as a fraction of the mean of its non-zero entries. */
  readonly damping: number;
  /** Features whose diagonal was zero (inputs that never fire); they got 1 there. */
  readonly dead: readonly number[];
}

const blockSize = 48;

/** The Cholesky factor, or undefined where the matrix is not positive definite to working precision. a: [n, n]; not changed. */
export function cholesky(a: Float64Array, n: number): Factor | undefined {
  checkMatrix("matrix to factorise", a, n, n);
  const l = a.slice();
  for (let j0 = 0; j0 < n; j0 += blockSize) {
    const cols = Math.min(blockSize, n - j0);
    addProduct(view(l, n, j0, j0), view(l, n, j0), view(l, n, j0), n - j0, cols, j0, -1);
    for (let i = j0; i < n; i++) {
      for (let j = j0; j < Math.min(i, j0 + cols); j++) {
        const rest = (l[i * n + j] ?? 0) - dot(l, i * n + j0, l, j * n + j0, j - j0);
        l[i * n + j] = rest / (l[j * n + j] ?? 1);
      }
      if (i >= j0 + cols) continue;
      const pivot = (l[i * n + i] ?? 0) - dot(l, i * n + j0, l, i * n + j0, i - j0);
      // Written so that NaN fails too. Below this a pivot is rounding noise.
      if (!(pivot > n * Number.EPSILON * (a[i * n + i] ?? 0)) || pivot === Number.POSITIVE_INFINITY) return undefined;
      l[i * n + i] = Math.sqrt(pivot);
    }
  }
  for (let i = 0; i < n; i++) l.fill(0, i * n + i + 1, (i + 1) * n);
  return { n, lower: l };
}

/**
 * The Cholesky factor of H + damping · mean(diag H) · I. Where that fails, damping rises tenfold (from 1e-8 when it was
 * 0) until it succeeds; the result says what it took. h: [n, n]; not changed. Throws `data` where even 10 fails.
 */
export function factorise(h: Float64Array, n: number, { damping = 0.01 } = {}): Factor & Damping {
  checkMatrix("matrix to factorise", h, n, n);
  const damped = h.slice();
  const dead: number[] = [];
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const entry = h[i * n + i] ?? 0;
    if (entry === 0) dead.push(i);
    else sum += entry;
  }
  const mean = dead.length < n ? sum / (n - dead.length) : 0;
  for (let used = damping; used <= 10; used = used === 0 ? 1e-8 : used * 10) {
    for (let i = 0; i < n; i++) {
      const entry = h[i * n + i] ?? 0;
      damped[i * n + i] = (entry === 0 ? 1 : entry) + used * mean;
    }
    const factor = cholesky(damped, n);
    if (factor !== undefined) return { ...factor, damping: used, dead };
  }
  throw new EspalierError(
    "data",
    `Gram matrix [${n}, ${n}]`,
    "expected a positive semidefinite matrix of finite numbers, got one that no damping repairs.",
    "Look for NaN or infinite activations in the calibration data.",
  );
}

/** Solves X A = B for X: each row of b is one right-hand side. b: [rows, n] → [rows, n]. */
export function solveRows({ n, lower }: Factor, b: Float64Array, rows: number): Float64Array {
  checkMatrix("right-hand sides", b, rows, n);
  const x = b.slice();
  for (let i0 = 0; i0 < n; i0 += blockSize) {
    const i1 = Math.min(n, i0 + blockSize);
    addProduct(view(x, n, 0, i0), view(x, n), view(lower, n, i0), rows, i1 - i0, i0, -1);
    for (let r = 0; r < rows; r++) {
      for (let i = i0; i < i1; i++) {
        const rest = (x[r * n + i] ?? 0) - dot(x, r * n + i0, lower, i * n + i0, i - i0);
        x[r * n + i] = rest / (lower[i * n + i] ?? 1);
      }
    }
  }
  const upper = transposed(lower, n, n);
  for (let i1 = n; i1 > 0; i1 -= blockSize) {
    const i0 = Math.max(0, i1 - blockSize);
    addProduct(view(x, n, 0, i0), view(x, n, 0, i1), view(upper, n, i0, i1), rows, i1 - i0, n - i1, -1);
    for (let r = 0; r < rows; r++) {
      for (let i = i1 - 1; i >= i0; i--) {
        const rest = (x[r * n + i] ?? 0) - dot(x, r * n + i + 1, upper, i * n + i + 1, i1 - i - 1);
        x[r * n + i] = rest / (upper[i * n + i] ?? 1);
      }
    }
  }
  return x;
}

/** A⁻¹. → [n, n] */
export function inverse(factor: Factor): Float64Array {
  const { n } = factor;
  const out = new Float64Array(n * n);
  addSymmetricProduct(out, inverseTransposed(factor), n, n, true);
  return out;
}

/**
 * U, upper triangular with H⁻¹ = Uᵀ U, as the sweep of SparseGPT needs it: U[i,i]² is entry (i, i) of the inverse of H
 * restricted to the columns from i on. Damped as in `factorise`. h: [n, n] → upper: [n, n].
 *
 * With the order of the columns reversed, H = L Lᵀ gives U = L⁻¹ reversed back: one factorisation instead of two, and
 * H⁻¹ itself is never formed.
 */
export function inverseUpper(
  h: Float64Array,
  n: number,
  options: { readonly damping?: number } = {},
): Damping & { readonly upper: Float64Array } {
  checkMatrix("matrix to factorise", h, n, n);
  const factor = factorise(h.slice().reverse(), n, options);
  const upper = transposed(inverseTransposed(factor), n, n).reverse();
  return { upper, damping: factor.damping, dead: factor.dead.map((i) => n - 1 - i).reverse() };
}

/** L⁻ᵀ, upper triangular: transposed, because then every inner loop runs along rows. */
export function inverseTransposed({ n, lower }: Factor): Float64Array {
  const w = new Float64Array(n * n);
  for (let i0 = 0; i0 < n; i0 += blockSize) {
    const i1 = Math.min(n, i0 + blockSize);
    for (let j0 = 0; j0 < i0; j0 += blockSize) {
      // Row j of w starts at column j, so the sum does too.
      addProduct(view(w, n, j0, i0), view(w, n, j0, j0), view(lower, n, i0, j0), blockSize, i1 - i0, i0 - j0, -1);
    }
    for (let j = 0; j < i1; j++) {
      if (j >= i0) w[j * n + j] = 1;
      const from = Math.max(i0, j);
      for (let i = from; i < i1; i++) {
        const rest = (w[j * n + i] ?? 0) - dot(w, j * n + from, lower, i * n + from, i - from);
        w[j * n + i] = rest / (lower[i * n + i] ?? 1);
      }
    }
  }
  return w;
}
