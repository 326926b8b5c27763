import type { Criterion } from "../criterion.ts";
import { magnitude } from "../weights/magnitude.ts";
import { inputFeatures } from "./input-norm.ts";

/**
 * Var[x] · Σᵢ wᵢ² of each input feature: what its fluctuation around its mean gives to the outputs, since the mean itself can
 * be put into a bias (FLAP, An et al. 2023, the score WIFV). Says nothing about rows, and nothing about single weights.
 */
export function fluctuation(): Criterion<"inputMean" | "inputMeanSquare"> {
  const weights = magnitude(2);
  return {
    id: "fluctuation",
    needs: ["inputMean", "inputMeanSquare"],
    elements: null,
    features: (view, side, { inputMean, inputMeanSquare }) => {
      const squares = side === "input" ? weights.features(view, side, {}) : null;
      if (squares === null) return null;
      const variance = Float64Array.from(inputMeanSquare, (square, j) =>
        Math.max(0, square - (inputMean[j] ?? 0) ** 2),
      );
      const own = inputFeatures(view, variance);
      return squares.map((square, j) => square * (own[j] ?? 0));
    },
  };
}
