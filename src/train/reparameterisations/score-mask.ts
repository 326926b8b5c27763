import type { Value } from "../../graph/algebra/algebra.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { load, type Shape, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import type { OwnTensor, Reparameterisation, Site } from "./reparameterisation.ts";
import { boundary } from "./threshold.ts";

export interface ScoreMaskOptions {
  /** Share removed; "fed": the host gives it at each run, as kind "sparsity". */
  readonly sparsity: number | "fed";
  /** Axes of the parameters that have a score for each position; all by default, so that each weight has one. */
  readonly axes?: readonly number[];
  /** What scores start as: the mean |w| of what they decide about, or normal noise. Default: magnitude. */
  readonly start?: "magnitude" | { readonly sd: number; readonly seed: number };
  /** Ranks scores by their absolute value (edge-popup does not); default false. */
  readonly absolute?: boolean;
}

/**
 * w ∘ m, where m is 1 for the scores of largest rank, over all parameters together, and 0 for others; backward a score gets
 * w · ∂L/∂(w ∘ m), as if m were the score itself (straight-through; movement pruning, edge-popup). The hard form is the product.
 */
export function scoreMask(options: ScoreMaskOptions): Reparameterisation {
  const { axes, start = "magnitude", absolute = false } = options;
  return {
    id: "score-mask",
    initial: async (parameters) => {
      const own = new Map<string, OwnTensor>();
      for (const [i, ref] of parameters.entries()) {
        const shape = ref.shape.map((n, axis) => (axes === undefined || axes.includes(axis) ? n : 1));
        const values =
          start === "magnitude" ? await meanMagnitude(ref, shape) : noise(shape, start.sd, [start.seed, "scores", i]);
        own.set(`score${i}`, { tensor: float32Tensor(shape, values) });
      }
      return own;
    },
    write: (site) => {
      const { g, parameters, own } = site;
      const scores = parameters.map((_, i) => own(`score${i}`));
      const ranked = scores.map((score) => (absolute ? g.map("Abs", score) : score));
      const flat = g.concat(
        ranked.map((score) => g.reshape(score, [sizeOf(score.shape)])),
        0,
      );
      const { removed } = boundary(g, flat, sparsityOf(site, options.sparsity));
      return parameters.map((parameter, i) => {
        const score = scores[i] ?? parameter;
        const hard = g.cast(g.greater(ranked[i] ?? score, removed), "f32");
        const mask = g.straightThrough(hard, ranked[i] ?? score);
        site.expose("mask", mask);
        return g.mul(parameter, mask);
      });
    },
  };
}

/** A share that is known, or that the host feeds. */
export function sparsityOf({ g, fed }: Site, sparsity: number | "fed"): Value {
  return sparsity === "fed" ? fed("sparsity", []) : g.scalar(sparsity);
}

async function meanMagnitude(ref: TensorRef, shape: Shape): Promise<Float32Array> {
  const values = toFloat32(await load(ref));
  const sums = new Float32Array(sizeOf(shape));
  // Stride in the scores of each axis of the parameter; 0 where they have one position.
  const strides = shape.map((n, axis) => (n === 1 ? 0 : sizeOf(shape.slice(axis + 1))));
  const position = new Int32Array(shape.length);
  for (let i = 0, at = 0; i < values.length; i++) {
    sums[at] = (sums[at] ?? 0) + Math.abs(values[i] ?? 0);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (position[axis] ?? 0) + 1;
      at += strides[axis] ?? 0;
      position[axis] = next;
      if (next < (ref.shape[axis] ?? 1)) break;
      position[axis] = 0;
      at -= next * (strides[axis] ?? 0);
    }
  }
  return sums.map((sum) => (sum * sums.length) / Math.max(1, values.length));
}

function noise(shape: Shape, sd: number, [seed, ...labels]: readonly [number, ...(string | number)[]]): Float32Array {
  const out = new Float32Array(sizeOf(shape));
  random(seed, ...labels).fillNormal(out, 0, sd);
  return out;
}
