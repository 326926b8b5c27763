import type { Optimiser } from "./optimiser.ts";

export interface SgdOptions {
  /** Share of the last step that is taken again; default 0.9. */
  readonly momentum?: number;
  /** Looks ahead along the momentum (Nesterov). */
  readonly nesterov?: boolean;
  /** λ of the penalty λ/2 · ‖w‖², whose gradient is added to the loss's. */
  readonly decay?: number;
}

/**
 * Stochastic gradient descent: m ← μ · m + g + λ · w, w ← w − η · m, with Nesterov w ← w − η · (g + λ · w + μ · m)
 * (Sutskever et al. 2013 in the form that PyTorch uses, where the rate stands outside the momentum).
 */
export function sgd({ momentum = 0.9, nesterov = false, decay = 0 }: SgdOptions = {}): Optimiser {
  return {
    id: "sgd",
    slots: momentum === 0 ? [] : ["momentum"],
    numbers: () => ({}),
    update: (g, { parameter, gradient, slot, number }) => {
      const pull = decay === 0 ? gradient : g.add(gradient, g.mul(parameter, decay));
      if (momentum === 0) return { parameter: g.sub(parameter, g.mul(pull, number("rate"))), slots: new Map() };
      const speed = g.add(g.mul(slot("momentum"), momentum), pull);
      const step = nesterov ? g.add(pull, g.mul(speed, momentum)) : speed;
      return { parameter: g.sub(parameter, g.mul(step, number("rate"))), slots: new Map([["momentum", speed]]) };
    },
  };
}
