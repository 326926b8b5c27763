import { crossSums, lineSums, runSums } from "../../tensor/linalg/power-sums.ts";
import type { Criterion, Side, WeightView } from "../criterion.ts";

/** |w|ᵖ; units are the p-norm over all their weights, without the root (DepGraph, section 3.3). */
export function magnitude(p: 1 | 2 = 2): Criterion<never> {
  return {
    id: `l${p}`,
    needs: [],
    elements: ({ values }) => {
      const out = new Float64Array(values.length);
      for (let i = 0; i < out.length; i++) {
        const value = values[i] ?? 0;
        out[i] = p === 1 ? Math.abs(value) : value * value;
      }
      return out;
    },
    factors: { power: p, columns: ({ columns }) => new Float64Array(columns).fill(1) },
    features: (weight, side) => (side === "other" ? null : powerSums(weight, side, p)),
  };
}

/**
 * Σ|w|ᵖ of each row, or of each input feature over all rows and kernel positions, without storing element scores. The
 * weights are read as they lie: in lines that are rows, or input features of the whole matrix.
 */
function powerSums(weight: WeightView, side: Side, p: 1 | 2): Float64Array {
  const { rows, columns, positions, byFeature } = weight;
  if (byFeature !== undefined) {
    const lines = columns / positions;
    return side === "input" ? lineSums(byFeature, lines, p) : runSums(crossSums(byFeature, lines, p), positions);
  }
  return side === "output" ? lineSums(weight.values, rows, p) : runSums(crossSums(weight.values, rows, p), positions);
}
