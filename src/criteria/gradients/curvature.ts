import type { Criterion } from "../criterion.ts";
import { summed } from "./per-weight.ts";

/** w · Hg, the change of the gradient's norm when a weight goes, kept where it is large (GraSP, Wang et al. 2020, Eq. 8). */
export function grasp(): Criterion<"hessianGradient"> {
  return summed("grasp", "hessianGradient", (w, hg) => w * hg);
}

/** |w · Hg|, the change of the gradient's norm whatever its sign (CroP, Rachwan et al. 2022). */
export function crop(): Criterion<"hessianGradient"> {
  return summed("crop", "hessianGradient", (w, hg) => Math.abs(w * hg));
}

/**
 * w² · E[g²] / 2, the loss of removal where the empirical Fisher stands for the Hessian (Theis et al. 2018, Eq. 5); that of the
 * calibration data, or of general data.
 */
export function fisher<N extends "gradientSquare" | "generalGradientSquare" = "gradientSquare">(of?: N): Criterion<N>;
export function fisher(
  of: "gradientSquare" | "generalGradientSquare" = "gradientSquare",
): Criterion<"gradientSquare" | "generalGradientSquare"> {
  return summed(of === "gradientSquare" ? "fisher" : "fisher-general", of, (w, f) => (w * w * f) / 2);
}

/** w² · Hᵢᵢ / 2 (Optimal Brain Damage, LeCun et al. 1990); a negative estimate of curvature counts as none. */
export function hessian(): Criterion<"hessianDiagonal"> {
  return summed("hessian", "hessianDiagonal", (w, h) => (w * w * Math.max(h, 0)) / 2);
}
