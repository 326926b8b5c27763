import { svd } from "../../tensor/linalg/eigen.ts";
import { float32Tensor, toFloat64 } from "../../tensor/numeric.ts";
import { load } from "../../tensor/tensor.ts";
import { sidesOf } from "./lora.ts";
import type { OwnTensor, Reparameterisation } from "./reparameterisation.ts";

/**
 * U·V in the place of the parameter as a matrix of its first axis by all others: U [rows, rank], V [rank, columns], from the
 * largest singular values, the root of each in both factors. The parameter itself is no longer read.
 */
export function lowRank({ rank }: { readonly rank: number }): Reparameterisation {
  return {
    id: "low-rank",
    initial: async (parameters) => {
      const own = new Map<string, OwnTensor>();
      for (const [i, ref] of parameters.entries()) {
        const { rows, columns, rank: r } = sidesOf(ref.shape, rank);
        const { left, values, right } = svd(Float64Array.from(toFloat64(await load(ref))), rows, columns);
        const [u, v] = [new Float32Array(rows * r), new Float32Array(r * columns)];
        for (let k = 0; k < r; k++) {
          const root = Math.sqrt(values[k] ?? 0);
          for (let row = 0; row < rows; row++) u[row * r + k] = root * (left[k * rows + row] ?? 0);
          for (let c = 0; c < columns; c++) v[k * columns + c] = root * (right[k * columns + c] ?? 0);
        }
        own.set(`U${i}`, { tensor: float32Tensor([rows, r], u) });
        own.set(`V${i}`, { tensor: float32Tensor([r, columns], v) });
      }
      return own;
    },
    write: ({ g, parameters, own }) =>
      parameters.map(({ shape }, i) => g.reshape(g.matMul(own(`U${i}`), own(`V${i}`)), shape)),
  };
}
