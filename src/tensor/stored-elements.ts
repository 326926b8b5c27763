import { bitsOf } from "./dtype.ts";
import type { HostTensor } from "./tensor.ts";

/** Bits of floats, as integers of the same width where there are such. */
export type Elements = Int16Array<ArrayBufferLike> | Int32Array<ArrayBufferLike> | Float64Array<ArrayBufferLike>;

/** The elements of a float tensor as they are stored; copies where the bytes lie at an odd offset. */
export function storedElements({ dtype, bytes }: HostTensor): Elements {
  const width = bitsOf(dtype) >> 3;
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes);
  const length = byteLength / width;
  if (width === 2) return new Int16Array(buffer, byteOffset, length);
  return width === 4 ? new Int32Array(buffer, byteOffset, length) : new Float64Array(buffer, byteOffset, length);
}
