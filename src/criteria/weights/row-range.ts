import type { Criterion } from "../criterion.ts";

/**
 * max w + |min w| over the weights of an output feature: the range of a row with both signs (the "maximum absolute weight" of
 * Martra 2025, Eq. 1). Says nothing about input features, and nothing about single weights.
 */
export function rowRange(): Criterion<never> {
  return {
    id: "range",
    needs: [],
    elements: null,
    features: ({ values, rows, columns }, side) => {
      if (side !== "output") return null;
      const out = new Float64Array(rows);
      for (let r = 0, i = 0; r < rows; r++) {
        let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
        for (let c = 0; c < columns; c++, i++) {
          const value = values[i] ?? 0;
          if (value < low) low = value;
          if (value > high) high = value;
        }
        out[r] = high + Math.abs(low);
      }
      return out;
    },
  };
}
