import type { Value } from "../../graph/algebra/algebra.ts";
import { float32Tensor, fromInts } from "../../tensor/numeric.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import type { Relaxation } from "./relaxations.ts";
import type { OwnTensor, Reparameterisation } from "./reparameterisation.ts";

/** Where the units of a group lie in a parameter. */
export interface UnitPlace {
  readonly axis: number;
  /** The unit of each position of the axis. */
  readonly units: ArrayLike<number>;
}

export interface GateOptions {
  readonly relaxation: Relaxation;
  /** One gate for each unit, shared by all the parameters; by default one for each weight. */
  readonly units?: { readonly count: number; readonly places: readonly UnitPlace[] };
  /** Logits that the gates start with; 2 is open with probability 0.88 or more. */
  readonly start?: number;
}

/** Uniform noise keeps this far from 0 and 1, whose logarithms are infinite. */
const margin = 1e-6;

/**
 * w ∘ z with a gate z for each weight or unit that opens at random while the network learns. Exposes "open", the probability
 * that each gate is open: its sum is the expected number of gates that stay (L0), and what a size penalty weighs.
 */
export function gate({ relaxation, units, start = 2 }: GateOptions): Reparameterisation {
  return {
    id: `gate-${relaxation.id}`,
    initial: async (parameters) => {
      const own = new Map<string, OwnTensor>();
      const add = (kind: string, shape: readonly number[]): void => {
        own.set(kind, { tensor: float32Tensor(shape, new Float32Array(sizeOf(shape)).fill(start)) });
      };
      if (units === undefined) for (const [i, { shape }] of parameters.entries()) add(`logits${i}`, shape);
      else add("logits", [units.count]);
      return own;
    },
    write: ({ g, parameters, own, fed, expose }, form) => {
      const gates = (kind: string, noise: string): Value => {
        const logits = own(kind);
        expose("open", relaxation.open(g, logits));
        if (form === "hard") return relaxation.hard(g, logits);
        return relaxation.sample(g, logits, relaxation.noisy ? fed(noise, logits.shape) : logits);
      };
      if (units === undefined) return parameters.map((w, i) => g.mul(w, gates(`logits${i}`, `noise${i}`)));
      const shared = gates("logits", "noise");
      return parameters.map((parameter, i) => {
        const { axis = 0, units: of = [] } = units.places[i] ?? {};
        const index = g.constant(fromInts("i64", [of.length], of), "units");
        const rest = parameter.shape.length - 1 - axis;
        return g.mul(parameter, g.reshape(g.gather(shared, index, 0), [of.length, ...Array<number>(rest).fill(1)]));
      });
    },
    feed: (kind, shape, source) => {
      if (!kind.startsWith("noise")) return null;
      const values = new Float32Array(sizeOf(shape));
      source.fillUniform(values, margin, 1 - margin);
      return float32Tensor(shape, values);
    },
  };
}
