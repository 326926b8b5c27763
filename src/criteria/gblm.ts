import type { Criterion, WeightView } from "./criterion.ts";
import { reduceElements } from "./criterion.ts";
import { inputNorm } from "./input-norm.ts";
import { magnitude } from "./magnitude.ts";
import { perWeight } from "./per-weight.ts";

/**
 * |w| · (√E[x²] + α · √E[g²]), where g is the gradient of the mean loss of one window (GBLM, Das et al. 2023, section 3.3, with the
 * gradients of all windows put together by their squares). The α of the paper is 100 for sums over 128 windows of 2048 tokens: beside means
 * that is 25.
 */
export function gblm(alpha = 25): Criterion<"inputMeanSquare" | "gradientSquare"> {
  const size = magnitude(1);
  const norm = inputNorm();
  const elements: NonNullable<Criterion<"inputMeanSquare" | "gradientSquare">["elements"]> = (
    weight: WeightView,
    statistics,
  ) => {
    const out = size.elements?.(weight, statistics) ?? new Float64Array(0);
    const norms = norm.elements?.(weight, statistics) ?? new Float64Array(0);
    const slopes = perWeight(weight, statistics.gradientSquare, (_, square) => Math.sqrt(square));
    for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) * ((norms[i] ?? 0) + alpha * (slopes[i] ?? 0));
    return out;
  };
  return {
    id: "gblm",
    needs: ["inputMeanSquare", "gradientSquare"],
    elements,
    features: (weight, side, statistics) =>
      side === "other" ? null : reduceElements(weight, side, elements(weight, statistics), "sum"),
  };
}
