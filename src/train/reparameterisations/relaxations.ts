import type { Algebra, Value } from "../../graph/algebra/algebra.ts";

/** How a gate that is open or closed is made something to differentiate by. All are functions of its logits, log α. */
export interface Relaxation {
  readonly id: string;
  /** True where a sample needs noise, uniform in (0, 1). */
  readonly noisy: boolean;
  /** Probability that the gate is not closed. */
  open(g: Algebra, logits: Value): Value;
  sample(g: Algebra, logits: Value, noise: Value): Value;
  /** What the gate is for good. */
  hard(g: Algebra, logits: Value): Value;
}

export interface HardConcreteOptions {
  readonly temperature?: number;
  /** The interval that the concrete distribution is stretched to before it is clipped. */
  readonly low?: number;
  readonly high?: number;
}

/**
 * z = clip(σ((log u − log(1 − u) + log α)/β) · (ζ − γ) + γ, 0, 1), P(open) = σ(log α − β log(−γ/ζ)), for good
 * clip(σ(log α) · (ζ − γ) + γ, 0, 1) (Louizos et al. 2018, Eq. 10 to 13).
 */
export function hardConcrete({ temperature = 2 / 3, low = -0.1, high = 1.1 }: HardConcreteOptions = {}): Relaxation {
  const stretched = (g: Algebra, s: Value): Value => clipped(g, g.add(g.mul(s, high - low), low));
  return {
    id: "hard-concrete",
    noisy: true,
    open: (g, logits) => g.sigmoid(g.sub(logits, temperature * Math.log(-low / high))),
    sample: (g, logits, noise) => stretched(g, g.sigmoid(g.div(g.add(logistic(g, noise), logits), temperature))),
    hard: (g, logits) => stretched(g, g.sigmoid(logits)),
  };
}

export interface GumbelOptions {
  readonly temperature?: number;
  /** Forward 0 or 1, backward the gradient of the soft sample. Default true. */
  readonly straightThrough?: boolean;
}

/** σ((log u − log(1 − u) + log α)/τ), the Gumbel softmax of two classes (Jang et al. 2017, Maddison et al. 2017). */
export function gumbel({ temperature = 1, straightThrough = true }: GumbelOptions = {}): Relaxation {
  return {
    id: "gumbel",
    noisy: true,
    open: (g, logits) => g.sigmoid(logits),
    sample: (g, logits, noise) => {
      const soft = g.sigmoid(g.div(g.add(logistic(g, noise), logits), temperature));
      return straightThrough ? g.straightThrough(g.cast(g.greater(soft, 0.5), "f32"), soft) : soft;
    },
    hard: (g, logits) => g.cast(g.greater(logits, 0), "f32"),
  };
}

/** σ(log α/τ) without noise; for good open above a half. */
export function sigmoidGate(temperature = 1): Relaxation {
  return {
    id: "sigmoid",
    noisy: false,
    open: (g, logits) => g.sigmoid(g.div(logits, temperature)),
    sample: (g, logits) => g.sigmoid(g.div(logits, temperature)),
    hard: (g, logits) => g.cast(g.greater(logits, 0), "f32"),
  };
}

/** log u − log(1 − u). */
function logistic(g: Algebra, u: Value): Value {
  return g.sub(g.log(u), g.log(g.sub(1, u)));
}

function clipped(g: Algebra, x: Value): Value {
  return g.min(g.max(x, 0), 1);
}
