import type { Optimiser } from "./optimiser.ts";

export interface LarsOptions {
  readonly momentum?: number;
  readonly decay?: number;
  /** Size of a step relative to the size of the weights; default 0.001. */
  readonly trust?: number;
}

/**
 * LARS (You et al. 2017): each parameter's step is scaled by trust · ‖w‖ / (‖g‖ + λ ‖w‖), by 1 where either norm is zero;
 * m ← μ m + scale · η · (g + λ w), w ← w − m.
 */
export function lars({ momentum = 0.9, decay = 0, trust = 0.001 }: LarsOptions = {}): Optimiser {
  return {
    id: "lars",
    slots: ["momentum"],
    numbers: () => ({}),
    update: (g, { parameter, gradient, slot, number }) => {
      const size = g.sqrt(g.sum(g.square(parameter)));
      const slope = g.sqrt(g.sum(g.square(gradient)));
      const ratio = g.div(g.mul(size, trust), g.add(g.add(slope, g.mul(size, decay)), 1e-12));
      const scale = g.where(g.greater(g.mul(size, slope), 0), ratio, 1);
      const pull = decay === 0 ? gradient : g.add(gradient, g.mul(parameter, decay));
      const speed = g.add(g.mul(slot("momentum"), momentum), g.mul(pull, g.mul(scale, number("rate"))));
      return { parameter: g.sub(parameter, speed), slots: new Map([["momentum", speed]]) };
    },
  };
}
