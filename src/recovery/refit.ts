import { centred, type InputMoments, type TargetMoments } from "../stats/taps/moments.ts";
import { factorise, solveRows } from "../tensor/linalg/cholesky.ts";
import { dot } from "../tensor/linalg/matrix.ts";

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
 * targets d: for λ = 0 ordinary least squares with a constant input of 1. λ is `damping` times the mean variance of x.
 * Rows that would not gain keep what they had. weights: [rows, columns]; rows of group g see the columns of group g.
 */
export function refit(
  inputs: InputMoments,
  target: TargetMoments,
  weights: Float64Array,
  bias: Float64Array,
  ending: { readonly scale: Float64Array; readonly shift: Float64Array },
  damping: number,
): Refitted {
  const { count, columns } = inputs;
  const groups = inputs.gram.length;
  const perGroup = target.rows / groups;
  const out = { weights: weights.slice(), bias: bias.slice(), before: 0, after: 0, damping: 0 };
  for (let g = 0; g < groups; g++) {
    const mean = inputs.sum.slice(g * columns, (g + 1) * columns).map((n) => n / count);
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
      const level = (target.sum[first + r] ?? 0) / count;
      if (!(Math.abs(scale) > 1e-12)) continue;
      centre[r] = (level - (ending.shift[first + r] ?? 0)) / scale;
      variance[r] = Math.max(0, (target.squares[first + r] ?? 0) / count - level * level) / scale ** 2;
      const cross = target.cross[g] ?? new Float64Array(0);
      for (let c = 0; c < columns; c++) {
        wanted[r * columns + c] = ((cross[(first + r) * columns + c] ?? 0) / count - level * (mean[c] ?? 0)) / scale;
      }
    }
    const residual = wanted.slice();
    const images = rowsTimes(old, spread, perGroup, columns);
    for (let i = 0; i < residual.length; i++) residual[i] = (residual[i] ?? 0) - (images[i] ?? 0);
    const change = solveRows(factor, residual, perGroup);
    const fitted = old.map((w, i) => w + (change[i] ?? 0));
    const after = rowsTimes(fitted, spread, perGroup, columns);
    for (let r = 0; r < perGroup; r++) {
      const at = r * columns;
      const scale = ending.scale[first + r] ?? 1;
      if (!(Math.abs(scale) > 1e-12)) continue;
      // E(wx + b − d)² = var(wx − d) + (mean)²; the fitted bias makes the second term zero.
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

function rowsTimes(a: Float64Array, symmetric: Float64Array, rows: number, n: number): Float64Array {
  const out = new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < n; j++) out[r * n + j] = dot(a, r * n, symmetric, j * n, n);
  }
  return out;
}
