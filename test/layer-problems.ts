import { gram, matMul, matMulTransposed } from "../src/tensor/linalg/matrix.ts";
import { random } from "../src/tensor/random.ts";

/** A linear layer and the inputs that it sees. */
export interface LayerProblem {
  /** [rows, columns] */
  readonly weights: Float64Array;
  /** [samples, columns] */
  readonly x: Float64Array;
  readonly samples: number;
  readonly rows: number;
  readonly columns: number;
  /** Σ x·xᵀ: [columns, columns] */
  readonly gram: Float64Array;
}

/** Weights and correlated inputs. X: [samples, columns]. */
export function layerProblem(rows: number, columns: number, seed = 0): LayerProblem {
  const samples = 3 * columns;
  const weights = new Float64Array(rows * columns);
  random(seed, "w").fillNormal(weights);
  const raw = new Float64Array(samples * columns);
  random(seed, "x").fillNormal(raw);
  const mix = new Float64Array(columns * columns);
  random(seed, "mix").fillNormal(mix, 0, 0.5 / Math.sqrt(columns));
  for (let i = 0; i < columns; i++) mix[i * columns + i] = (mix[i * columns + i] ?? 0) + 0.3;
  const x = matMul(raw, mix, samples, columns, columns);
  return { weights, x, samples, rows, columns, gram: gram(x, samples, columns) };
}

/** Inputs in which each feature follows the one before it, as neighbouring channels do. */
export function smoothProblem(rows: number, columns: number, seed = 3): LayerProblem {
  const p = layerProblem(rows, columns, seed);
  const { x, samples } = p;
  random(seed, "smooth").fillNormal(x);
  for (let s = 0; s < samples; s++)
    for (let j = 1; j < columns; j++)
      x[s * columns + j] = 0.9 * (x[s * columns + j - 1] ?? 0) + 0.44 * (x[s * columns + j] ?? 0);
  return { ...p, gram: gram(x, samples, columns) };
}

/** ‖W X − V X‖², computed on the inputs themselves. */
export function outputDistance({ weights, x, samples, rows, columns }: LayerProblem, other: ArrayLike<number>): number {
  const difference = weights.map((w, i) => w - (other[i] ?? 0));
  return matMulTransposed(difference, x, rows, columns, samples).reduce((sum, d) => sum + d * d, 0);
}

/** Largest absolute difference. */
export function furthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? 0))), 0);
}
