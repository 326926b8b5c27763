import { bitsOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { bytesOf, type TensorRef } from "../../tensor/tensor.ts";
import type { Piece } from "../onnx/message.ts";
import { nameOf } from "./dtypes.ts";
import type { Safetensors } from "./read.ts";

/**
 * The bytes of a safetensors file, in pieces: the header, then each tensor. Wider element types come first, so that each
 * tensor starts at a multiple of its element; within a type by name, so that the same tensors give the same bytes.
 * Throws `request` for element types that the format does not have.
 */
export function encodeSafetensors({ tensors, metadata }: Safetensors): readonly Piece[] {
  const order = [...tensors].sort(
    ([a, x], [b, y]) => bitsOf(y.dtype) - bitsOf(x.dtype) || (a < b ? -1 : a > b ? 1 : 0),
  );
  const entries: [string, unknown][] = metadata.size === 0 ? [] : [["__metadata__", Object.fromEntries(metadata)]];
  let at = 0;
  for (const [name, ref] of order) {
    const dtype = nameOf(ref.dtype);
    if (dtype === undefined || name === "__metadata__") throw unstorable(name, ref);
    const end = at + bytesOf(ref);
    entries.push([name, { dtype, shape: ref.shape, data_offsets: [at, end] }]);
    at = end;
  }
  // Keys that look like numbers would be moved to the front by an object.
  const text = `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`;
  const json = new TextEncoder().encode(text);
  const length = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(8 + length).fill(0x20, 8 + json.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(json, 8);
  return [head, ...order.map(([, ref]) => ref.resident ?? ref)];
}

function unstorable(name: string, { dtype }: TensorRef): EspalierError {
  return new EspalierError("request", `tensor "${name}"`, `expected one that safetensors can hold, got ${dtype}.`);
}
