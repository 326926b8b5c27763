import { float32Tensor } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { supportOf } from "./mask.ts";
import type { OwnTensor, Reparameterisation } from "./reparameterisation.ts";

export interface LoraOptions {
  /** Rows of A and columns of B; at most the smaller side of the matrix. */
  readonly rank: number;
  /** Factor α/rank on B·A; default: α = rank. */
  readonly alpha?: number;
  /** Multiplies B·A by the support of the parameter, so that zeros stay zeros when it is merged (PERP, MaskLoRA). */
  readonly masked?: boolean;
  readonly seed?: number;
}

/**
 * w + α/r · B·A, with the parameter taken as a matrix of its first axis by all others (Hu et al. 2021). B starts at zero, so the
 * model starts as it is; A is normal with variance 1/columns. Merged into one plain tensor in the hard form.
 */
export function lora({ rank, alpha = rank, masked = false, seed = 0 }: LoraOptions): Reparameterisation {
  return {
    id: "lora",
    initial: async (parameters) => {
      const own = new Map<string, OwnTensor>();
      for (const [i, ref] of parameters.entries()) {
        const { rows, columns, rank: r } = sidesOf(ref.shape, rank);
        const a = new Float32Array(r * columns);
        random(seed, "lora", i, rows, columns).fillNormal(a, 0, 1 / Math.sqrt(columns));
        own.set(`A${i}`, { tensor: float32Tensor([r, columns], a) });
        own.set(`B${i}`, { tensor: float32Tensor([rows, r], new Float32Array(rows * r)) });
        if (masked) own.set(`mask${i}`, { tensor: await supportOf(ref), trained: false });
      }
      return own;
    },
    write: ({ g, parameters, own }) =>
      parameters.map((parameter, i) => {
        const product = g.matMul(own(`B${i}`), own(`A${i}`));
        const update = g.reshape(g.mul(product, alpha / rank), parameter.shape);
        return g.add(parameter, masked ? g.mul(update, own(`mask${i}`)) : update);
      }),
  };
}

/** A parameter as a matrix: its first axis by all others; and the rank that it can have. */
export function sidesOf(shape: readonly number[], rank: number) {
  const rows = shape[0] ?? 1;
  const columns = sizeOf(shape.slice(1));
  return { rows, columns, rank: Math.max(1, Math.min(rank, rows, columns)) };
}
