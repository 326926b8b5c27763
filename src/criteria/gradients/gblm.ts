import { quantile } from "../../tensor/selection/select.ts";
import type { Criterion, WeightView } from "../criterion.ts";
import { reduceElements } from "../criterion.ts";
import { inputNorm } from "../inputs/input-norm.ts";
import { magnitude } from "../weights/magnitude.ts";
import { perWeight } from "./per-weight.ts";

/** How much gradients count beside inputs, and how those of all windows are put together. */
export interface GblmOptions {
  /** Factor on the gradients; "matched": in each matrix the one at which their median is that of the inputs. Default 25. */
  readonly alpha?: number | "matched";
  /** By their squares or by their sizes. Default squares. */
  readonly gradients?: "squares" | "sizes";
}

type Needs = "inputMeanSquare" | "gradientSquare" | "gradientMagnitude";

/**
 * |w| · (√E[x²] + α · √E[g²]), or E|g| in the place of the root, where g is the gradient of the mean loss of one window (GBLM, Das et al.
 * 2023, section 3.3). The α of the paper is 100 for sums over 128 windows of 2048 tokens: beside means that is 25 for squares and
 * 282.8 for sizes. At α = 0 it is Wanda.
 */
export function gblm({ alpha = 25, gradients = "squares" }: GblmOptions = {}): Criterion<Needs> {
  const size = magnitude(1);
  const norm = inputNorm();
  const elements: NonNullable<Criterion<Needs>["elements"]> = (weight: WeightView, statistics) => {
    const out = size.elements?.(weight, statistics) ?? new Float64Array(0);
    const norms = norm.elements?.(weight, statistics) ?? new Float64Array(0);
    const slopes =
      gradients === "squares"
        ? perWeight(weight, statistics.gradientSquare, (_, square) => Math.sqrt(square))
        : perWeight(weight, statistics.gradientMagnitude, (_, mean) => mean);
    const factor = alpha === "matched" ? matching(norms, slopes) : alpha;
    for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) * ((norms[i] ?? 0) + factor * (slopes[i] ?? 0));
    return out;
  };
  return {
    id: "gblm",
    needs: ["inputMeanSquare", gradients === "squares" ? "gradientSquare" : "gradientMagnitude"],
    ...(alpha === "matched" ? { whole: true } : {}),
    elements,
    features: (weight, side, statistics) =>
      side === "other" ? null : reduceElements(weight, side, elements(weight, statistics), "sum"),
  };
}

/** The factor on slopes at which their median is that of norms; 0 where slopes have none. */
function matching(norms: Float64Array, slopes: Float64Array): number {
  const [inputs, gradients] = [norms, slopes].map((values) => quantile(values, 0.5));
  return inputs === undefined || gradients === undefined || !(gradients > 0) ? 0 : inputs / gradients;
}
