import type { Reparameterisation } from "./reparameterisation.ts";
import { sparsityOf } from "./score-mask.ts";
import { boundary } from "./threshold.ts";

export interface SoftMaskOptions {
  /** Share removed of each parameter; "fed": the host gives it at each run, as kind "sparsity". */
  readonly sparsity: number | "fed";
  /** τ, in units of w². */
  readonly temperature: number;
  /** Takes τ as a share of the mean square of the parameter, so that it fits layers of any scale. */
  readonly relative?: boolean;
}

/**
 * w · σ((w² − t²)/τ), where t lies between the smallest kept and the largest removed magnitude of the parameter (PDP, Cho et
 * al. 2023): no parameters of its own, and weights near the threshold are decided quickly. t is a constant for the gradient.
 * The hard form keeps |w| ≥ t.
 */
export function softMask(options: SoftMaskOptions): Reparameterisation {
  const { temperature, relative = false } = options;
  return {
    id: "soft-mask",
    initial: async () => new Map(),
    write: (site, form) =>
      site.parameters.map((parameter) => {
        const { g } = site;
        const size = g.map("Abs", parameter);
        const { kept, removed } = boundary(g, size, sparsityOf(site, options.sparsity));
        // Where nothing goes, no magnitude is below it.
        const threshold = g.max(g.mul(g.add(kept, removed), 0.5), 0);
        if (form === "hard") return g.mul(parameter, g.sub(1, g.cast(g.less(size, threshold), "f32")));
        const square = g.square(parameter);
        const tau = relative ? g.stop(g.mul(g.mean(square), temperature)) : g.scalar(temperature);
        const mask = g.sigmoid(g.div(g.sub(square, g.square(threshold)), tau));
        site.expose("mask", mask);
        return g.mul(parameter, mask);
      }),
  };
}
