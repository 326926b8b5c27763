import { type Svd, svd } from "./eigen.ts";

/** How many singular values of a matrix are kept; at least 1. */
export type RankRule =
  | { readonly kind: "rank"; readonly rank: number }
  /** The least number whose squares make up this share of all squares. */
  | { readonly kind: "energy"; readonly share: number }
  /** Those that are at least this large. */
  | { readonly kind: "value"; readonly least: number };

/** How many of descending singular values a rule keeps, at least 1. */
export function rankOf(values: Float64Array, rule: RankRule): number {
  switch (rule.kind) {
    case "rank":
      return Math.max(1, Math.min(rule.rank, values.length));
    case "energy": {
      let total = 0;
      for (const value of values) total += value * value;
      let sum = 0;
      for (const [i, value] of values.entries()) {
        sum += value * value;
        if (sum >= rule.share * total * (1 - 1e-12)) return i + 1;
      }
      return Math.max(1, values.length);
    }
    case "value": {
      let count = 0;
      while (count < values.length && (values[count] ?? 0) >= rule.least) count++;
      return Math.max(1, count);
    }
  }
}

/** The nearest matrix of a lower rank, and its directions U·Vᵀ, the sub-gradient of the sum of its singular values. */
export interface Truncated {
  readonly rank: number;
  /** [m, n] */
  readonly product: Float64Array;
  /** [m, n] */
  readonly directions: Float64Array;
  readonly svd: Svd;
}

/** Keeps the largest singular values of a matrix. a: [m, n], left as it is. */
export function truncate(a: Float64Array, m: number, n: number, rule: RankRule): Truncated {
  const found = svd(Float64Array.from(a), m, n);
  const rank = rankOf(found.values, rule);
  const product = new Float64Array(m * n);
  const directions = new Float64Array(m * n);
  for (let k = 0; k < rank; k++) {
    const value = found.values[k] ?? 0;
    // What is zero has no direction.
    if (value === 0) continue;
    for (let i = 0; i < m; i++) {
      const left = found.left[k * m + i] ?? 0;
      for (let j = 0; j < n; j++) {
        const outer = left * (found.right[k * n + j] ?? 0);
        directions[i * n + j] = (directions[i * n + j] ?? 0) + outer;
        product[i * n + j] = (product[i * n + j] ?? 0) + value * outer;
      }
    }
  }
  return { rank, product, directions, svd: found };
}
