import { symmetricEigen } from "../tensor/linalg/eigen.ts";
import { gram as products, transposed } from "../tensor/linalg/matrix.ts";
import type { Criterion } from "./criterion.ts";

/** Singular values below this part of the largest count as none. */
const cut = 1e-4;

/**
 * κ(W) · ‖xⱼ‖ / ‖X‖ + κ(X) · ‖wⱼ‖ / ‖W‖ of each input feature j of Y = X Wᵀ: what bounds the relative error of Y where its inputs, or its
 * weights, lose j (COMP, Xu et al. 2025, reconstructed). κ is the largest singular value by the smallest that counts. "balanced": both
 * terms have mean 1 in the matrix in the place of their condition numbers. Says nothing about rows, single weights, and groups that
 * are apart.
 */
export function condition(terms: "bounds" | "balanced" = "bounds"): Criterion<"gram"> {
  return {
    id: terms === "bounds" ? "condition" : "condition-balanced",
    needs: ["gram"],
    elements: null,
    features: ({ values, rows, columns, positions }, side, { gram }) => {
      const [x] = gram;
      if (side !== "input" || x === undefined || gram.length !== 1) return null;
      const [inputs, weights] = [new Float64Array(columns / positions), new Float64Array(columns / positions)];
      for (let c = 0; c < columns; c++) {
        const f = Math.floor(c / positions);
        inputs[f] = (inputs[f] ?? 0) + (x[c * columns + c] ?? 0);
        for (let r = 0; r < rows; r++) weights[f] = (weights[f] ?? 0) + (values[r * columns + c] ?? 0) ** 2;
      }
      const bounds = terms === "bounds";
      const [ofInputs, ofWeights] = [
        bounds ? conditionOf(Float64Array.from(values), rows, columns) / rootOfSum(inputs) : 1 / meanRoot(inputs),
        bounds ? rootCondition(x, columns) / rootOfSum(weights) : 1 / meanRoot(weights),
      ];
      return inputs.map((square, f) => ofInputs * Math.sqrt(square) + ofWeights * Math.sqrt(weights[f] ?? 0));
    },
  };
}

function rootOfSum(squares: Float64Array): number {
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0)) || 1;
}

function meanRoot(squares: Float64Array): number {
  return squares.reduce((sum, square) => sum + Math.sqrt(square), 0) / squares.length || 1;
}

/** The condition number of a matrix, by the smaller of its Gram matrices. */
function conditionOf(a: Float64Array, rows: number, columns: number): number {
  return rows < columns
    ? rootCondition(products(transposed(a, rows, columns), columns, rows), rows)
    : rootCondition(products(a, rows, columns), columns);
}

/** The condition number of a matrix, from its Gram matrix [n, n]. */
function rootCondition(squares: Float64Array, n: number): number {
  const { values } = symmetricEigen(squares, n);
  const most = values[0] ?? 0;
  const least = values.findLast((value) => value > cut ** 2 * most);
  return least === undefined ? 1 : Math.sqrt(most / least);
}
