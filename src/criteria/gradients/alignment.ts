import { type Criterion, reduceElements, type WeightView } from "../criterion.ts";
import { rowsOf } from "./per-weight.ts";

export interface AlignmentOptions {
  /** β: how much importance for general data counts against a weight. */
  readonly against?: number;
  /** c: how much √|w| counts. */
  readonly size?: number;
  /**
   * Fisher numbers as shares of their mean over the parameter, and the alignment times the number of weights. As they are, both vanish
   * beside √|w|, and the score orders weights by their size.
   */
  readonly scaled?: boolean;
}

type Needs = "gradient" | "gradientSquare" | "generalGradient" | "generalGradientSquare";

/**
 * What a weight is worth to a domain beyond what it is worth to general data, where both gradients agree (GAPrune, Tang and Yang 2025):
 * (F|w| − β F'|w|) · clamp(1 + 0.2 a, 0.8, 1.2) + c √(|w| + 10⁻⁸). F and F' are diagonals of the empirical Fisher on the domain and on
 * general data, a is the product of both mean gradients as unit vectors, smoothed over 3 × 3 neighbours in the matrix. A softplus
 * around it all would change no order.
 */
export function alignment({ against = 1, size = 0.5, scaled = true }: AlignmentOptions = {}): Criterion<Needs> {
  const elements: NonNullable<Criterion<Needs>["elements"]> = (weight, statistics) => {
    const { gradient, gradientSquare, generalGradient, generalGradientSquare } = statistics;
    const [own, other] = [unit(gradient), unit(generalGradient)];
    const agreement = smoothed(weight, own, other, scaled ? gradient.length : 1);
    const domain = rowsOf(weight, gradientSquare);
    const general = rowsOf(weight, generalGradientSquare);
    const [a, b] = scaled ? [1 / mean(gradientSquare), 1 / mean(generalGradientSquare)] : [1, 1];
    return Float64Array.from(weight.values, (w, i) => {
      const m = Math.abs(w);
      const worth = (a * (domain[i] ?? 0) - against * b * (general[i] ?? 0)) * m;
      return worth * Math.min(1.2, Math.max(0.8, 1 + 0.2 * (agreement[i] ?? 0))) + size * Math.sqrt(m + 1e-8);
    });
  };
  return {
    id: scaled ? "alignment" : "alignment-unscaled",
    needs: ["gradient", "gradientSquare", "generalGradient", "generalGradientSquare"],
    // Neighbours in the matrix and means over it count.
    whole: true,
    elements,
    features: (weight, side, statistics) =>
      side === "other" || statistics.gradient.length === 0
        ? null
        : reduceElements(weight, side, elements(weight, statistics), "sum"),
  };
}

/** Divided by its length, which is told to be 1 where nothing is. */
function unit(values: Float32Array): Float64Array {
  const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0)) || 1;
  return Float64Array.from(values, (value) => value / length);
}

/** The mean, or 1 where it is 0. */
function mean(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length || 1;
}

/** Mean over 3 × 3 neighbours of the product of two directions, zeros around the matrix: sums of rows, then of columns. */
function smoothed({ rows, columns, firstRow, totalRows }: WeightView, a: Float64Array, b: Float64Array, scale: number) {
  const along = new Float64Array((rows + 2) * columns);
  for (let r = -1; r <= rows; r++) {
    const row = firstRow + r;
    if (row < 0 || row >= totalRows) continue;
    const at = row * columns;
    for (let c = 0; c < columns; c++) {
      let sum = 0;
      for (let j = Math.max(0, c - 1); j <= Math.min(columns - 1, c + 1); j++)
        sum += (a[at + j] ?? 0) * (b[at + j] ?? 0);
      along[(r + 1) * columns + c] = sum;
    }
  }
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < out.length; i++) {
    const sum = (along[i] ?? 0) + (along[i + columns] ?? 0) + (along[i + 2 * columns] ?? 0);
    out[i] = (sum * scale) / 9;
  }
  return out;
}
