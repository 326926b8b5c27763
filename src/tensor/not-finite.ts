import type { HostTensor } from "./tensor.ts";

/** Position of the first NaN or infinity, -1 without. The exponent bits tell, so nothing is converted. */
export function firstNotFinite({ dtype, bytes }: HostTensor): number {
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
