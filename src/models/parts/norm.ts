import { float, int } from "../../graph/attributes.ts";
import type { NormedMatrix, Site } from "../checkpoint/site.ts";
import type { Size } from "../checkpoint/size.ts";

export interface RmsNormSpec {
  readonly width: Size;
  readonly epsilon: number;
  /** Added to the gain, where 0 means no change. */
  readonly shift?: number;
  /** The place of the matrix that makes x for this norm alone, and which of its outputs x is, all unless told. */
  readonly maker?: Site;
  readonly part?: NormedMatrix["part"];
  /** Where ε is from, the config unless told. */
  readonly from?: NormedMatrix["epsilon"];
}

/** x · gain / √(mean x² + ε) over the last axis; parameter `weight`. */
export function rmsNorm(
  site: Site,
  x: string,
  { width, epsilon, shift = 0, maker, part = "all", from = "config" }: RmsNormSpec,
): string {
  const weight = site.parameter("weight", [width]);
  if (maker !== undefined) site.isNormOf("weight", maker, { part, epsilon: from });
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
