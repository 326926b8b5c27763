import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import type { Random } from "../../tensor/random.ts";
import { formatShape, type HostTensor } from "../../tensor/tensor.ts";
import type { Batch } from "../dataset.ts";

/**
 * Lays another sample of the batch over each, as `train` asks for it: (1 - s)·x + s·other with s drawn evenly from 0 to
 * `most`, the same other and s for all inputs of a sample (mixup, Zhang et al. 2018). Labels do not follow, so it serves
 * teachers that answer for what they see (Beyer et al. 2022). Throws `data` for inputs that are neither bytes nor floats.
 */
export function mix(most: number): (batch: Batch, draw: Random) => Batch {
  if (!(most >= 0 && most <= 1)) throw new EspalierError("request", "mix", `expected a share, 0 to 1, got ${most}.`);
  return (batch, draw) => {
    const others = draw.permutation(batch.count);
    const shares = new Float32Array(batch.count);
    draw.fillUniform(shares, 0, most);
    const inputs = new Map([...batch.inputs].map(([name, tensor]) => [name, overlaid(name, tensor, others, shares)]));
    return { ...batch, inputs };
  };
}

function overlaid(name: string, tensor: HostTensor, others: Int32Array, shares: Float32Array): HostTensor {
  const { dtype, shape } = tensor;
  if (dtype !== "u8" && dtype !== "f32") {
    const message = `expected bytes or floats to mix, got ${dtype} ${formatShape(shape)}.`;
    throw new EspalierError("data", name, message, "Train without mix.");
  }
  const from = dtype === "u8" ? tensor.bytes : toFloat32(tensor);
  const out = new Float32Array(from.length);
  const size = from.length / others.length;
  for (let sample = 0, at = 0; sample < others.length; sample++) {
    const share = shares[sample] ?? 0;
    const other = (others[sample] ?? 0) * size;
    for (let i = 0; i < size; i++, at++) {
      const own = from[at] ?? 0;
      out[at] = own + share * ((from[other + i] ?? 0) - own);
    }
  }
  if (dtype === "f32") return float32Tensor(shape, out);
  return { dtype, shape, bytes: Uint8Array.from(out, Math.round) };
}
