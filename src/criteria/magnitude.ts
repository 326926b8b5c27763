import type { Criterion, Side, WeightView } from "./criterion.ts";

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
    features: (weight, side) => (side === "other" ? null : powerSums(weight, side, p)),
  };
}

/** Σ|w|ᵖ of each row, or of each input feature over all rows and kernel positions, without storing element scores. */
function powerSums({ rows, columns, positions, values }: WeightView, side: Side, p: 1 | 2): Float64Array {
  const byRow = side === "output";
  const features = columns / positions;
  const out = new Float64Array(byRow ? rows : features);
  for (let row = 0, i = 0; row < rows; row++) {
    let whole = 0;
    for (let feature = 0; feature < features; feature++) {
      let sum = 0;
      for (const end = i + positions; i < end; i++) {
        const value = values[i] ?? 0;
        sum += p === 1 ? Math.abs(value) : value * value;
      }
      if (byRow) whole += sum;
      else out[feature] = (out[feature] ?? 0) + sum;
    }
    if (byRow) out[row] = whole;
  }
  return out;
}
