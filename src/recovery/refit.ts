import { centred } from "../stats/taps/moments.ts";
import { type Damping, type Factor, factorise, solveRows } from "../tensor/linalg/cholesky.ts";
import { dot, meanDiagonal } from "../tensor/linalg/matrix.ts";
import type { Products } from "../tensor/linalg/products.ts";
import { solveMasked } from "../tensor/linalg/solve-masked.ts";
import type { FitProblem } from "./fit-layers.ts";

/** A matrix with what is added to each row. */
export interface Refitted {
  /** [rows, columns] */
  readonly weights: Float64Array;
  /** [rows] */
  readonly bias: Float64Array;
  /** Mean squared error over the calibration inputs before and after, summed over rows. */
  readonly before: number;
  readonly after: number;
  /** The damping that the factorisation took, as a fraction of the mean diagonal. */
  readonly damping: number;
}

/**
 * The weights W and biases b that minimise E‖scale · (W x + b) + shift − d‖² + λ‖W − W₀‖², from sums over the inputs x and the
 * targets d: for λ = 0 ordinary least squares with a constant input of 1, or without one where biases are not free. λ is `damping` times the mean
 * variance of x. Weights that are zero stay zero, and rows that would not gain keep what they had. weights: [rows, columns]; rows of
 * group g see the columns of group g.
 */
export async function refit(
  { inputs, target, now: { weights, bias }, ending, freeBias, products }: FitProblem,
  damping: number,
): Promise<Refitted> {
  const { count, columns } = inputs;
  const groups = inputs.gram.length;
  const perGroup = target.rows / groups;
  const out = { weights: weights.slice(), bias: bias.slice(), before: 0, after: 0, damping: 0 };
  for (let g = 0; g < groups; g++) {
    const average = inputs.sum.slice(g * columns, (g + 1) * columns).map((n) => n / count);
    // A free bias takes care of the means, so that what is left to fit lies around them; a fixed one leaves all of the inputs to fit.
    const mean = freeBias ? average : new Float64Array(columns);
    const spread = centred(inputs.gram[g] ?? new Float64Array(0), mean, count);
    const factor = factorise(spread, columns, { damping });
    out.damping = Math.max(out.damping, factor.damping);
    const first = g * perGroup;
    const old = weights.subarray(first * columns, (first + perGroup) * columns);
    const wanted = new Float64Array(perGroup * columns);
    const centre = new Float64Array(perGroup);
    const variance = new Float64Array(perGroup);
    for (let r = 0; r < perGroup; r++) {
      const scale = ending.scale[first + r] ?? 1;
      if (!(Math.abs(scale) > 1e-12)) continue;
      const shift = ending.shift[first + r] ?? 0;
      const middle = (target.sum[first + r] ?? 0) / count;
      const level = freeBias ? middle : shift + scale * (bias[first + r] ?? 0);
      centre[r] = (level - shift) / scale;
      const around = (target.squares[first + r] ?? 0) / count - (2 * middle - level) * level;
      variance[r] = Math.max(0, around) / scale ** 2;
      const cross = target.cross[g] ?? new Float64Array(0);
      for (let c = 0; c < columns; c++) {
        wanted[r * columns + c] = ((cross[(first + r) * columns + c] ?? 0) / count - level * (average[c] ?? 0)) / scale;
      }
    }
    const residual = wanted.slice();
    const images = rowsTimes(old, spread, perGroup, columns);
    for (let i = 0; i < residual.length; i++) residual[i] = (residual[i] ?? 0) - (images[i] ?? 0);
    const change = await changeOf({ spread, factor }, residual, old, perGroup, products);
    const fitted = old.map((w, i) => w + (change[i] ?? 0));
    const after = rowsTimes(fitted, spread, perGroup, columns);
    for (let r = 0; r < perGroup; r++) {
      const at = r * columns;
      const scale = ending.scale[first + r] ?? 1;
      if (!(Math.abs(scale) > 1e-12)) continue;
      // E(wx + b − d)² = E(wx − d, around their middles)² + (their distance)², which the fitted bias makes zero.
      const spreadOf = (w: Float64Array, image: Float64Array): number =>
        (variance[r] ?? 0) - 2 * dot(w, at, wanted, at, columns) + dot(w, at, image, at, columns);
      const offset = dot(old, at, mean, 0, columns) + (bias[first + r] ?? 0) - (centre[r] ?? 0);
      const was = spreadOf(old, images) + offset * offset;
      const is = spreadOf(fitted, after);
      out.before += Math.max(0, was) * scale * scale;
      if (!(is < was)) {
        out.after += Math.max(0, was) * scale * scale;
        continue;
      }
      out.after += Math.max(0, is) * scale * scale;
      out.weights.set(fitted.subarray(at, at + columns), (first + r) * columns);
      out.bias[first + r] = (centre[r] ?? 0) - dot(fitted, at, mean, 0, columns);
    }
  }
  return out;
}

/**
 * What is added to each row: by the factor where a row has no zeros, else by conjugate gradients among the weights that it has. What is
 * left of a solution there is less than what calibration inputs leave open.
 */
async function changeOf(
  { spread, factor }: { readonly spread: Float64Array; readonly factor: Factor & Damping },
  residual: Float64Array,
  old: Float64Array,
  rows: number,
  products: Products,
): Promise<Float64Array> {
  const { n } = factor;
  const sparse: number[] = [];
  for (let r = 0; r < rows; r++) if (old.subarray(r * n, (r + 1) * n).includes(0)) sparse.push(r);
  if (sparse.length === 0) return solveRows(factor, residual, rows);
  const change = sparse.length === rows ? new Float64Array(rows * n) : solveRows(factor, residual, rows);
  const [sides, mask] = [new Float64Array(sparse.length * n), new Uint8Array(sparse.length * n)];
  for (const [i, r] of sparse.entries()) {
    sides.set(residual.subarray(r * n, (r + 1) * n), i * n);
    for (let c = 0; c < n; c++) mask[i * n + c] = old[r * n + c] === 0 ? 0 : 1;
  }
  const damping = factor.damping * meanDiagonal(spread, n);
  const found = await solveMasked(spread, n, sides, mask, sparse.length, { damping, products });
  for (const [i, r] of sparse.entries()) change.set(found.subarray(i * n, (i + 1) * n), r * n);
  return change;
}

function rowsTimes(a: Float64Array, symmetric: Float64Array, rows: number, n: number): Float64Array {
  const out = new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < n; j++) out[r * n + j] = dot(a, r * n, symmetric, j * n, n);
  }
  return out;
}
