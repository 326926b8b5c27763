import type { Criterion } from "../criterion.ts";

/**
 * |γ|, the learned factor of each channel after a norm (network slimming, Liu et al. 2017). Says nothing about units
 * that no norm scales, and nothing about single weights.
 */
export function normScale(): Criterion<never> {
  return {
    id: "norm-scale",
    needs: [],
    elements: null,
    features: ({ values, rows, columns, role }, side) => {
      if (side !== "other" || role !== "scale") return null;
      const out = new Float64Array(rows);
      for (let r = 0, i = 0; r < rows; r++) {
        let sum = 0;
        for (let c = 0; c < columns; c++, i++) sum += Math.abs(values[i] ?? 0);
        out[r] = sum;
      }
      return out;
    },
  };
}
