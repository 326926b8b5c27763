import { fromFloats, toFloat32 } from "../../tensor/numeric.ts";
import { type HostTensor, load, type TensorRef } from "../../tensor/tensor.ts";
import type { Reparameterisation } from "./reparameterisation.ts";

/** w ∘ m with a fixed mask, 1 keeps: one for each parameter, of its shape. */
export function mask(masks: readonly HostTensor[]): Reparameterisation {
  return {
    id: "mask",
    initial: async () => new Map(masks.map((tensor, i) => [`${i}`, { tensor, trained: false }])),
    write: ({ g, parameters, own }) => parameters.map((parameter, i) => g.mul(parameter, own(`${i}`))),
  };
}

/** The mask that keeps what is not zero. */
export async function supportOf(ref: TensorRef): Promise<HostTensor> {
  const tensor = await load(ref);
  return fromFloats(
    "f32",
    tensor.shape,
    toFloat32(tensor).map((value) => (value === 0 ? 0 : 1)),
  );
}
