import { float32Tensor, fromInts } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import type { OwnTensor, Reparameterisation } from "./reparameterisation.ts";

export interface SharedTableOptions {
  /** Numbers that all the parameters share. */
  readonly size: number;
  readonly seed: number;
  /** Standard deviation of what the table starts with. */
  readonly sd: number;
  /** Factor of each parameter on what it reads, so that layers keep their scale; default 1. */
  readonly scales?: readonly number[];
}

/**
 * All weights of all parameters are entries of one table, with a sign each: w = scale · sign · table[h], where place and sign
 * are drawn from the seed (hashed nets, Chen et al. 2015; several parameters from one source). Parameters are no longer read.
 */
export function sharedTable({ size, seed, sd, scales = [] }: SharedTableOptions): Reparameterisation {
  return {
    id: "shared-table",
    initial: async (parameters) => {
      const table = new Float32Array(size);
      random(seed, "table").fillNormal(table, 0, sd);
      const own = new Map<string, OwnTensor>([["table", { tensor: float32Tensor([size], table) }]]);
      for (const [i, { shape }] of parameters.entries()) {
        const count = sizeOf(shape);
        const source = random(seed, "places", i);
        const places = new Int32Array(count);
        const signs = new Float32Array(count);
        const scale = scales[i] ?? 1;
        for (let k = 0; k < count; k++) {
          const drawn = source.int(2 * size);
          places[k] = drawn >> 1;
          signs[k] = (drawn & 1) === 0 ? scale : -scale;
        }
        own.set(`places${i}`, { tensor: fromInts("i64", shape, places), trained: false });
        own.set(`signs${i}`, { tensor: float32Tensor(shape, signs), trained: false });
      }
      return own;
    },
    write: ({ g, parameters, own }) =>
      parameters.map((_, i) => g.mul(g.gather(own("table"), own(`places${i}`), 0), own(`signs${i}`))),
  };
}
