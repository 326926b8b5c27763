import { symmetricEigen } from "./eigen.ts";
import { checkMatrix, dot, gram, matMul, transposed } from "./matrix.ts";

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

/** The singular values of a matrix, descending, and factors of the nearest matrix of each rank. */
export interface Spectrum {
  readonly values: Float64Array;
  /** left [m, rank] · right [rank, n], with the root of each singular value in both. */
  factors(rank: number): { readonly left: Float64Array; readonly right: Float64Array };
  /** Their product: [m, n]. */
  product(rank: number): Float64Array;
}

/**
 * The spectrum of a matrix, from the eigenvectors of its smaller Gram matrix: of a thousand columns in seconds, where singular
 * values below about 1e-8 of the largest are noise. The factors are projections, so that this noise is not in their product.
 * a: [m, n]
 */
export function spectrum(a: Float64Array, m: number, n: number): Spectrum {
  checkMatrix("matrix", a, m, n);
  const wide = m <= n;
  const [short, long] = wide ? [m, n] : [n, m];
  // [short, long]: what the eigenvectors of the short side are multiplied with.
  const flat = wide ? a : transposed(a, m, n);
  const { vectors } = symmetricEigen(gram(wide ? transposed(a, m, n) : a, long, short), short);
  const images = matMul(vectors, flat, short, short, long);
  const values = Float64Array.from({ length: short }, (_, k) =>
    Math.sqrt(dot(images, k * long, images, k * long, long)),
  );
  const factors: Spectrum["factors"] = (rank) => {
    const [unit, image] = [new Float64Array(rank * short), new Float64Array(rank * long)];
    for (let k = 0; k < rank; k++) {
      const root = Math.sqrt(values[k] ?? 0);
      if (root === 0) continue;
      for (let i = 0; i < short; i++) unit[k * short + i] = (vectors[k * short + i] ?? 0) * root;
      for (let i = 0; i < long; i++) image[k * long + i] = (images[k * long + i] ?? 0) / root;
    }
    return wide ? { left: transposed(unit, rank, m), right: image } : { left: transposed(image, rank, m), right: unit };
  };
  return {
    values,
    factors,
    product: (rank) => {
      const { left, right } = factors(rank);
      return matMul(left, right, m, rank, n);
    },
  };
}

/** The nearest matrix of a lower rank, and its directions U·Vᵀ, the sub-gradient of the sum of its singular values. */
export interface Truncated {
  readonly rank: number;
  readonly values: Float64Array;
  /** [m, n] */
  readonly product: Float64Array;
  /** [m, n] */
  readonly directions: Float64Array;
}

/** Keeps the largest singular values of a matrix. a: [m, n], left as it is. */
export function truncate(a: Float64Array, m: number, n: number, rule: RankRule): Truncated {
  const { values, factors } = spectrum(a, m, n);
  const rank = rankOf(values, rule);
  const { left, right } = factors(rank);
  const scaled = right.slice();
  for (let k = 0; k < rank; k++) {
    const value = values[k] ?? 0;
    // What is zero has no direction.
    for (let j = k * n; j < (k + 1) * n; j++) scaled[j] = value === 0 ? 0 : (right[j] ?? 0) / value;
  }
  return {
    rank,
    values,
    product: matMul(left, right, m, rank, n),
    directions: matMul(left, scaled, m, rank, n),
  };
}
