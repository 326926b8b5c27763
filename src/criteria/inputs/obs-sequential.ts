import { inverseUpper } from "../../tensor/linalg/cholesky.ts";
import { type Criterion, reduceElements, type WeightView } from "../criterion.ts";

/**
 * What removing a weight costs when the columns behind it make up for it: w² / U²ⱼⱼ, U the upper Cholesky factor of H⁻¹ with
 * H = E[x·xᵀ] damped (SparseGPT's score, before anything is updated). From the inputs of calibration, or of general data.
 */
export function obsSequential<N extends "gram" | "generalGram">(of: N, damping = 0.01): Criterion<N> {
  const elements: NonNullable<Criterion<N>["elements"]> = (weight: WeightView, statistics) => {
    const { values, columns } = weight;
    const grams: readonly Float64Array[] = statistics[of];
    const rows = weight.rows / Math.max(1, grams.length);
    const out = new Float64Array(values.length);
    for (const [g, h] of grams.entries()) {
      const { upper } = inverseUpper(h, columns, { damping });
      for (let i = g * rows * columns; i < (g + 1) * rows * columns; i++) {
        const j = i % columns;
        out[i] = ((values[i] ?? 0) / (upper[j * columns + j] || 1)) ** 2;
      }
    }
    return out;
  };
  return {
    id: of === "gram" ? "obs-sequential" : "obs-sequential-general",
    needs: [of],
    // Each call factorises the Gram matrices, and rows belong to theirs by position.
    whole: true,
    elements,
    features: (weight, side, statistics) =>
      side === "other" || statistics[of].length === 0
        ? null
        : reduceElements(weight, side, elements(weight, statistics), "sum"),
  };
}
