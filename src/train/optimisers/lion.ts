import type { Optimiser } from "./optimiser.ts";

export interface LionOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly decay?: number;
}

/** Lion (Chen et al. 2023): w ← w − η · (sign(β₁ m + (1 − β₁) g) + λ w), then m ← β₂ m + (1 − β₂) g. */
export function lion({ beta1 = 0.9, beta2 = 0.99, decay = 0 }: LionOptions = {}): Optimiser {
  return {
    id: "lion",
    slots: ["momentum"],
    numbers: (_, rate) => ({ shrink: 1 - rate * decay }),
    update: (g, { parameter, gradient, slot, number }) => {
      const before = slot("momentum");
      const direction = g.map("Sign", g.add(g.mul(before, beta1), g.mul(gradient, 1 - beta1)));
      const kept = decay === 0 ? parameter : g.mul(parameter, number("shrink"));
      return {
        parameter: g.sub(kept, g.mul(direction, number("rate"))),
        slots: new Map([["momentum", g.add(g.mul(before, beta2), g.mul(gradient, 1 - beta2))]]),
      };
    },
  };
}
