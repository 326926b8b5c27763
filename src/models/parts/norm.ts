import { float, int } from "../../graph/attributes.ts";
import type { Site } from "../checkpoint/site.ts";
import type { Size } from "../checkpoint/size.ts";

/** x · gain / √(mean x² + ε) over the last axis; parameter `weight`. `shift` is added to the gain, where 0 means no change. */
export function rmsNorm(site: Site, x: string, width: Size, epsilon: number, shift = 0): string {
  const weight = site.parameter("weight", [width]);
  const gain = shift === 0 ? weight : site.add(weight, site.float(shift));
  return site.draft.op("RMSNormalization", [x, gain], { axis: int(-1), epsilon: float(epsilon) });
}

/**
 * (x − mean x) · weight / √(variance x + ε) + bias over the last axis; parameters `weight` and, unless left out, `bias`, or
 * `gamma` and `beta`, as checkpoints of before 2019 call them.
 */
export function layerNorm(site: Site, x: string, width: Size, epsilon: number, bias = true): string {
  const old = site.has("gamma");
  const parameters = [site.parameter(old ? "gamma" : "weight", [width])];
  if (bias) parameters.push(site.parameter(old ? "beta" : "bias", [width]));
  return site.draft.op("LayerNormalization", [x, ...parameters], { axis: int(-1), epsilon: float(epsilon) });
}
