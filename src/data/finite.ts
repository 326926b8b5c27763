import { EspalierError } from "../tensor/error.ts";
import { toFloat64 } from "../tensor/numeric.ts";
import { type HostTensor, sizeOf } from "../tensor/tensor.ts";

/** Throws `data` naming the sample when a float tensor holds NaN or an infinity; sample i lies at `positions[i]`. */
export function checkFinite(where: string, name: string, tensor: HostTensor, positions: Int32Array): void {
  const at = firstNotFinite(tensor);
  if (at < 0) return;
  const rowSize = Math.max(1, sizeOf(tensor.shape.slice(1)));
  const row = Math.floor(at / rowSize);
  const value = toFloat64(tensor)[at];
  throw new EspalierError(
    "data",
    where,
    `expected finite numbers in "${name}", got ${value} in sample ${positions[row] ?? row} at element ${at % rowSize}.`,
    "Remove the sample or repair the data.",
  );
}

/** Position of the first NaN or infinity, -1 without. The exponent bits tell, so nothing is converted. */
function firstNotFinite({ dtype, bytes }: HostTensor): number {
  switch (dtype) {
    case "f32":
      return firstFullExponent(words32(bytes), 0x7f800000, 1, 0);
    case "f64":
      return firstFullExponent(words32(bytes), 0x7ff00000, 2, 1);
    case "f16":
      return firstFullExponent(words16(bytes), 0x7c00, 1, 0);
    case "bf16":
      return firstFullExponent(words16(bytes), 0x7f80, 1, 0);
    default:
      return -1;
  }
}

function firstFullExponent(words: Uint32Array | Uint16Array, exponent: number, stride: number, start: number): number {
  for (let i = start; i < words.length; i += stride) {
    if (((words[i] ?? 0) & exponent) === exponent) return (i - start) / stride;
  }
  return -1;
}

function words32(bytes: Uint8Array): Uint32Array {
  const even = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Uint32Array(even.buffer, even.byteOffset, even.byteLength / 4);
}

function words16(bytes: Uint8Array): Uint16Array {
  const even = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(even.buffer, even.byteOffset, even.byteLength / 2);
}
