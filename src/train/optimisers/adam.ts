import type { Optimiser } from "./optimiser.ts";

export interface AdamOptions {
  /** How long the mean of the gradient is remembered; default 0.9. */
  readonly beta1?: number;
  /** How long the mean square is remembered; default 0.999. */
  readonly beta2?: number;
  readonly epsilon?: number;
  readonly decay?: number;
  /** Decay apart from the gradient, w ← w − η · λ · w (AdamW, Loshchilov and Hutter 2019); default true. */
  readonly decoupled?: boolean;
}

/**
 * Adam (Kingma and Ba 2015): m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², w ← w − η · m̂ / (√v̂ + ε), where m̂ and v̂ are
 * divided by 1 − β₁ᵗ and 1 − β₂ᵗ.
 */
export function adam(options: AdamOptions = {}): Optimiser {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decay = 0, decoupled = true } = options;
  return {
    id: decoupled && decay > 0 ? "adamw" : "adam",
    slots: ["mean", "square"],
    numbers: (step, rate) => ({
      pace: rate / (1 - beta1 ** step),
      spread: 1 / Math.sqrt(1 - beta2 ** step),
      shrink: 1 - rate * decay,
    }),
    update: (g, { parameter, gradient, slot, number }) => {
      const pull = decoupled || decay === 0 ? gradient : g.add(gradient, g.mul(parameter, decay));
      const mean = g.add(g.mul(slot("mean"), beta1), g.mul(pull, 1 - beta1));
      const square = g.add(g.mul(slot("square"), beta2), g.mul(g.square(pull), 1 - beta2));
      const scale = g.add(g.mul(g.sqrt(square), number("spread")), epsilon);
      const kept = decoupled && decay > 0 ? g.mul(parameter, number("shrink")) : parameter;
      const next = g.sub(kept, g.div(g.mul(mean, number("pace")), scale));
      return {
        parameter: next,
        slots: new Map([
          ["mean", mean],
          ["square", square],
        ]),
      };
    },
  };
}

/** AdamW with the decay that its paper uses. */
export const adamW = (options: AdamOptions = {}): Optimiser => adam({ decay: 0.01, ...options, decoupled: true });
