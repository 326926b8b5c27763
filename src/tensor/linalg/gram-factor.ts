import { EspalierError } from "../error.ts";
import { cholesky, type Damping, inverseTransposed } from "./cholesky.ts";
import { checkMatrix } from "./matrix.ts";
import { type Products, packInto, part, plainProducts } from "./products.ts";

/** H = R·Rᵀ of a symmetric positive definite matrix, R upper triangular. */
export interface GramFactor extends Damping {
  readonly n: number;
  /** R: [n, n], row-major. What stands below the diagonal means nothing. */
  readonly upper: Float64Array;
  /** R⁻¹ of the blocks on the diagonal, by their first row. */
  readonly corners: ReadonlyMap<number, Float64Array>;
}

export interface GramFactorOptions {
  /** Added to the diagonal, as a fraction of the mean of its non-zero entries; default 0.01. */
  readonly damping?: number;
  /** Where products are made; default plain loops. */
  readonly products?: Products;
  /** The Gram matrix is given away: the factor takes its memory. Else a copy does. */
  readonly overwrite?: boolean;
}

/** Columns that plain loops factorise: above, products of matrices do most of the work. */
const corner = 128;

/**
 * R of H + damping · mean(diag H) · I = R·Rᵀ, from the last column to the first: row j of R needs nothing of the columns
 * before j, as the sweep of SparseGPT wants it. Its diagonal is that of the Cholesky factor U of H⁻¹ = Uᵀ·U upside down,
 * Rⱼⱼ = 1/Uⱼⱼ, as R = U⁻¹. Inputs that never fire get 1 on the diagonal. Where the matrix is not positive definite, damping rises
 * tenfold (from 1e-8 when it was 0) until it is; the result says what it took. h: [n, n]. Throws `data` where even 10
 * fails. Cost: n³/3 multiplications and additions, in halves, so that nearly all are in products.
 */
export async function gramFactor(h: Float64Array, n: number, options: GramFactorOptions = {}): Promise<GramFactor> {
  checkMatrix("matrix to factorise", h, n, n);
  const { damping = 0.01, products = plainProducts, overwrite = false } = options;
  const upper = overwrite ? h : h.slice();
  const diagonal = new Float64Array(n);
  const dead: number[] = [];
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const entry = h[i * n + i] ?? 0;
    if (entry === 0) dead.push(i);
    sum += entry;
    diagonal[i] = entry === 0 ? 1 : entry;
  }
  const mean = dead.length < n ? sum / (n - dead.length) : 0;
  const middle = n <= corner ? 0 : half(0, n);
  const side = new Float64Array(middle ** 2);
  const block = new Float64Array(Math.max(middle * corner, stripOf(middle) ** 2));
  for (let used = damping; used <= Math.max(10, damping); used = used === 0 ? 1e-8 : used * 10) {
    const damped = diagonal.map((entry) => entry + used * mean);
    if (used !== damping) restore(upper, n);
    for (let i = 0; i < n; i++) upper[i * n + i] = damped[i] ?? 1;
    const corners = new Map<number, Float64Array>();
    if (await factorRange({ upper, n, corners, damped, products, side, block }, 0, n)) {
      return { n, upper, corners, damping: used, dead };
    }
  }
  throw new EspalierError(
    "data",
    `Gram matrix [${n}, ${n}]`,
    "expected a positive semidefinite matrix of finite numbers, got one that no damping repairs.",
    "Look for NaN or infinite activations in the calibration data.",
  );
}

/** B·R⁻ᵀ·R⁻¹ = B·H⁻¹, in place: each row of b is one right-hand side. b: [rows, n]. */
export async function solveGram(factor: GramFactor, b: Float64Array, rows: number, products = plainProducts) {
  checkMatrix("right-hand sides", b, rows, factor.n);
  const block = new Float64Array(rows * Math.min(corner, factor.n));
  await solveTransposed({ ...factor, products, block }, b, factor.n, 0, rows, 0, factor.n);
  await solveUpper({ ...factor, products, block }, b, factor.n, rows, 0, factor.n);
}

/** What it takes to solve by a factor. */
interface Solver extends Pick<GramFactor, "upper" | "n" | "corners"> {
  readonly products: Products;
  /** Memory for as many rows as are solved at once, of `corner` columns, and for a strip. */
  readonly block: Float64Array;
}

interface Work extends Solver {
  readonly corners: Map<number, Float64Array>;
  readonly damped: Float64Array;
  /** Memory for the columns behind the first half, beside it: allocated once, since collecting it took longer than using it. */
  readonly side: Float64Array;
}

/** Factorises what is left of H in rows and columns [from, to); false where it is not positive definite. */
async function factorRange(work: Work, from: number, to: number): Promise<boolean> {
  if (to - from <= corner) return factorCorner(work, from, to);
  const { upper, n, products } = work;
  const middle = half(from, to);
  if (!(await factorRange(work, middle, to))) return false;
  await solveTransposed(work, upper, n, from, middle, middle, to);
  // H₁₁ −= R₁₂·R₁₂ᵀ, above the diagonal: below it the numbers of H wait for another try.
  const [rows, depth] = [middle - from, to - middle];
  const side = packInto(work.side.subarray(0, rows * depth), part(upper, n, from, middle), rows, depth);
  const strip = stripOf(rows);
  for (let a = 0; a < rows; a += strip) {
    const size = Math.min(strip, rows - a);
    const own = part(side, depth, a);
    const square = work.block.subarray(0, size * size).fill(0);
    await products.addRowProducts(part(square, size), own, own, size, size, depth, 1);
    for (let i = 0; i < size; i++) {
      const at = (from + a + i) * n + from + a;
      for (let j = i; j < size; j++) upper[at + j] = (upper[at + j] ?? 0) - (square[i * size + j] ?? 0);
    }
    const right = a + size;
    if (right === rows) continue;
    const to = part(upper, n, from + a, from + right);
    await products.addRowProducts(to, own, part(side, depth, right), size, rows - right, depth, -1);
  }
  return factorRange(work, from, middle);
}

/** Rows that are updated at once, where nothing left of the diagonal may be. */
function stripOf(rows: number): number {
  return Math.max(corner, Math.ceil(rows / 8));
}

/** X·Rᵀ = B for the columns [from, to), in place. b: rows [top, bottom) of a matrix of `stride` columns. */
async function solveTransposed(
  solver: Solver,
  b: Float64Array,
  stride: number,
  top: number,
  bottom: number,
  from: number,
  to: number,
): Promise<void> {
  const { upper, n, corners, products, block } = solver;
  const [rows, columns] = [bottom - top, to - from];
  const inverse = columns <= corner ? corners.get(from) : undefined;
  if (inverse !== undefined) {
    const given = takeOut(block, b, stride, top, from, rows, columns);
    await products.addRowProducts(part(b, stride, top, from), given, part(inverse, columns), rows, columns, columns, 1);
    return;
  }
  const middle = half(from, to);
  await solveTransposed(solver, b, stride, top, bottom, middle, to);
  const [solved, lines] = [part(b, stride, top, middle), part(upper, n, from, middle)];
  await products.addRowProducts(part(b, stride, top, from), solved, lines, rows, middle - from, to - middle, -1);
  await solveTransposed(solver, b, stride, top, bottom, from, middle);
}

/** X·R = B for the columns [from, to), in place. b: [rows, stride]. */
async function solveUpper(
  solver: Solver,
  b: Float64Array,
  stride: number,
  rows: number,
  from: number,
  to: number,
): Promise<void> {
  const { upper, n: side, corners, products, block } = solver;
  const columns = to - from;
  const inverse = columns <= corner ? corners.get(from) : undefined;
  if (inverse !== undefined) {
    const given = takeOut(block, b, stride, 0, from, rows, columns);
    const flipped = new Float64Array(columns * columns);
    for (let i = 0; i < columns; i++) {
      for (let j = i; j < columns; j++) flipped[j * columns + i] = inverse[i * columns + j] ?? 0;
    }
    await products.addRowProducts(part(b, stride, 0, from), given, part(flipped, columns), rows, columns, columns, 1);
    return;
  }
  const middle = half(from, to);
  await solveUpper(solver, b, stride, rows, from, middle);
  const [m, n, depth] = [rows, to - middle, middle - from];
  const lines = new Float64Array(n * depth);
  for (let i = 0; i < depth; i++) {
    for (let j = 0; j < n; j++) lines[j * depth + i] = upper[(from + i) * side + middle + j] ?? 0;
  }
  const [behind, solved] = [part(b, stride, 0, middle), part(b, stride, 0, from)];
  await products.addRowProducts(behind, solved, part(lines, depth), m, n, depth, -1);
  await solveUpper(solver, b, stride, rows, middle, to);
}

/** A block moved into other memory; zeros are left. */
function takeOut(
  into: Float64Array,
  b: Float64Array,
  stride: number,
  row: number,
  column: number,
  rows: number,
  columns: number,
) {
  const given = packInto(into.subarray(0, rows * columns), part(b, stride, row, column), rows, columns);
  for (let i = row; i < row + rows; i++) b.fill(0, i * stride + column, i * stride + column + columns);
  return part(given, columns);
}

/** The factor of a block on the diagonal and its inverse: those of the Cholesky factor of the block upside down. */
function factorCorner({ upper, n, corners, damped }: Work, from: number, to: number): boolean {
  const size = to - from;
  const last = size * size - 1;
  const turned = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = i; j < size; j++) {
      const entry = upper[(from + i) * n + from + j] ?? 0;
      turned[last - i * size - j] = entry;
      turned[last - j * size - i] = entry;
    }
  }
  const factor = cholesky(turned, size);
  if (factor === undefined) return false;
  const { lower } = factor;
  for (let i = 0; i < size; i++) {
    // What the columns to the right left of the diagonal may be rounding noise of what was there before.
    if (!((lower[last - i * size - i] ?? 0) ** 2 > n * Number.EPSILON * (damped[from + i] ?? 0))) return false;
    for (let j = i; j < size; j++) upper[(from + i) * n + from + j] = lower[last - i * size - j] ?? 0;
  }
  const inverse = new Float64Array(size * size);
  const flipped = inverseTransposed(factor);
  for (let i = 0; i < size; i++) {
    for (let j = i; j < size; j++) inverse[i * size + j] = flipped[last - j * size - i] ?? 0;
  }
  corners.set(from, inverse);
  return true;
}

/** Puts back what stood above the diagonal, from below it. */
function restore(upper: Float64Array, n: number): void {
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) upper[i * n + j] = upper[j * n + i] ?? 0;
}

function half(from: number, to: number): number {
  return from + corner * Math.ceil(Math.ceil((to - from) / corner) / 2);
}
