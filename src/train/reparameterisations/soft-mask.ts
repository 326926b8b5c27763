import { type Among, type Competition, competition } from "./among.ts";
import type { Reparameterisation, Site } from "./reparameterisation.ts";
import { sparsityOf } from "./score-mask.ts";

export interface ThresholdMaskOptions {
  /** Share removed of each parameter; "fed": the host gives it at each run, as kind "sparsity". Not asked for N of M. */
  readonly sparsity: number | "fed";
  /** What competes; single weights unless told. */
  readonly among?: Among;
}

export interface SoftMaskOptions extends ThresholdMaskOptions {
  /** τ, in units of w². */
  readonly temperature: number;
  /** Takes τ as a share of the mean square of what competes, so that it fits layers of any scale. */
  readonly relative?: boolean;
}

/**
 * w · σ((a² − t²)/τ), where a is |w|, or the length of a slice, and t lies between the smallest that stays and the largest that goes
 * (PDP, Cho et al. 2023): no parameters of its own, and what is near the threshold is decided quickly. t is a constant for
 * the gradient. The hard form keeps a ≥ t.
 */
export function softMask(options: SoftMaskOptions): Reparameterisation {
  const { temperature, relative = false } = options;
  return {
    id: "soft-mask",
    initial: async () => new Map(),
    write: (site, form) =>
      competitionsOf(site, options).map(({ size, threshold, restore }, i) => {
        const { g } = site;
        const parameter = site.parameters[i] ?? size;
        if (form === "hard") return g.mul(parameter, restore(hardMask(site, { size, threshold })));
        const square = g.square(size);
        const tau = relative ? g.stop(g.mul(g.mean(square), temperature)) : g.scalar(temperature);
        const mask = restore(g.sigmoid(g.div(g.sub(square, g.square(threshold)), tau)));
        site.expose("mask", mask);
        return g.mul(parameter, mask);
      }),
  };
}

/** w where it stays and 0 where it goes, by the same thresholds; backward as if it were w (straight-through). */
export function topMask(options: ThresholdMaskOptions): Reparameterisation {
  return {
    id: "top-mask",
    initial: async () => new Map(),
    write: (site, form) =>
      competitionsOf(site, options).map((each, i) => {
        const { g } = site;
        const parameter = site.parameters[i] ?? each.size;
        const kept = g.mul(parameter, each.restore(hardMask(site, each)));
        return form === "hard" ? kept : g.straightThrough(kept, parameter);
      }),
  };
}

function competitionsOf(site: Site, { among = { kind: "element" }, sparsity }: ThresholdMaskOptions) {
  return site.parameters.map((parameter) => competition(site.g, parameter, among, () => sparsityOf(site, sparsity)));
}

/** 1 where a size is not below its threshold. */
function hardMask({ g }: Site, { size, threshold }: Pick<Competition, "size" | "threshold">) {
  return g.sub(1, g.cast(g.less(size, threshold), "f32"));
}
