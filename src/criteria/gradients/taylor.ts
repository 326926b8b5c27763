import { type Criterion, reduceElements } from "../criterion.ts";
import { perWeight, saysNothing, summed } from "./per-weight.ts";

/**
 * First-order change of the loss when a weight goes: |w · g|; of a unit |Σ w · g| over its weights in a parameter, so that
 * weights that make up for each other do not count (Molchanov et al. 2019, without the square).
 */
export function taylor(): Criterion<"gradient"> {
  return {
    id: "taylor",
    needs: ["gradient"],
    elements: (view, { gradient }) => perWeight(view, gradient, (w, g) => Math.abs(w * g)),
    features: (view, side, { gradient }) => {
      if (saysNothing(view, gradient)) return null;
      const sums = reduceElements(
        view,
        side,
        perWeight(view, gradient, (w, g) => w * g),
        "sum",
      );
      return sums.map(Math.abs);
    },
  };
}

/** The same with its sign: −w · g, how much the loss grows. What would lower the loss goes first. */
export function signedTaylor(): Criterion<"gradient"> {
  return summed("taylor-signed", "gradient", (w, g) => -w * g);
}

/** |w| times the mean over samples of |g| of each alone, so that samples that disagree still count. */
export function sampleTaylor(): Criterion<"gradientMagnitude"> {
  return summed("taylor-sample", "gradientMagnitude", (w, g) => Math.abs(w) * g);
}

/**
 * |w · g| = |∂L/∂m| at a mask m of ones (SNIP, Lee et al. 2019, Eq. 3; the division by the sum changes no rank). Units add
 * up.
 */
export function snip(): Criterion<"gradient"> {
  return summed("snip", "gradient", (w, g) => Math.abs(w * g));
}
