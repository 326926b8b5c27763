import { bitsOf, byteLengthOf, type DType, isFloat } from "./dtype.ts";
import { EspalierError } from "./error.ts";
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from "./half.ts";
import { formatShape, type HostTensor, type Shape, sizeOf, tensor } from "./tensor.ts";

/** The values as float32. Shares memory with the tensor where it is f32 and aligned; else a copy. Throws `model`. */
export function toFloat32(t: HostTensor): Float32Array {
  const { buffer, byteOffset, length } = aligned(t);
  switch (t.dtype) {
    case "f32":
      return new Float32Array(buffer, byteOffset, length);
    case "f64":
      return new Float32Array(new Float64Array(buffer, byteOffset, length));
    case "f16":
      return decodeFloat16(new Uint16Array(buffer, byteOffset, length));
    case "bf16":
      return decodeBfloat16(new Uint16Array(buffer, byteOffset, length));
    case "i64":
    case "u64":
      return new Float32Array(toFloat64(t));
    default:
      return new Float32Array(smallIntegers(t));
  }
}

/** The values as float64. Shares memory with the tensor where it is f64 and aligned; else a copy. Throws `model`. */
export function toFloat64(t: HostTensor): Float64Array {
  const { buffer, byteOffset, length } = aligned(t);
  switch (t.dtype) {
    case "f64":
      return new Float64Array(buffer, byteOffset, length);
    case "f32":
    case "f16":
    case "bf16":
      return new Float64Array(toFloat32(t));
    case "i64":
    case "u64": {
      const low = new Uint32Array(buffer, byteOffset, length * 2);
      const high = t.dtype === "i64" ? new Int32Array(buffer, byteOffset, length * 2) : low;
      const out = new Float64Array(length);
      for (let i = 0; i < length; i++) out[i] = (high[2 * i + 1] ?? 0) * 2 ** 32 + (low[2 * i] ?? 0);
      return out;
    }
    default:
      return new Float64Array(smallIntegers(t));
  }
}

/** A float tensor of the given values, each rounded once, to nearest, ties to even. Shares memory where no rounding is due. */
export function fromFloats(
  dtype: "f32" | "f64" | "f16" | "bf16",
  shape: Shape,
  values: Float32Array | Float64Array,
): HostTensor {
  return tensor(dtype, shape, bytesOfArray(rounded(dtype, values)));
}

/** A float32 tensor over the given values, without a copy. */
export function float32Tensor(shape: Shape, values: Float32Array): HostTensor {
  return tensor("f32", shape, bytesOfArray(values));
}

/** Like `toInts`, but what lies beyond 2^53 becomes the nearest safe integer: "to the end" in the bounds of a slice. */
export function toBounds(t: HostTensor): number[] {
  const values = t.dtype === "i64" || t.dtype === "u64" ? toFloat64(t) : smallIntegers(t);
  return Array.from(values, (n) => Math.min(Math.max(n, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER));
}

/** The values of an integer or bool tensor as plain numbers. Throws `model` for other types or beyond 2^53. */
export function toInts(t: HostTensor): number[] {
  const values = t.dtype === "i64" || t.dtype === "u64" ? toFloat64(t) : smallIntegers(t);
  const out = new Array<number>(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (!Number.isSafeInteger(value)) {
      throw new EspalierError("model", describe(t), `expected integers below 2^53, got about ${value} at ${i}.`);
    }
    out[i] = value;
  }
  return out;
}

const ranges = {
  i64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  bool: [0, 1],
} as const;

/** An integer tensor of the given values. Throws `shape` where a value is no integer or does not fit. */
export function fromInts(dtype: "i64" | "i32" | "bool", shape: Shape, values: ArrayLike<number>): HostTensor {
  const [low, high] = ranges[dtype];
  const words = new Int32Array(dtype === "i64" ? values.length * 2 : values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (!Number.isInteger(value) || value < low || value > high) {
      const where = `tensor ${formatShape(shape)} of ${dtype}`;
      throw new EspalierError("shape", where, `expected integers from ${low} to ${high}, got ${value} at ${i}.`);
    }
    if (dtype === "i64") {
      words[2 * i] = value | 0;
      words[2 * i + 1] = Math.floor(value / 2 ** 32);
    } else words[i] = value;
  }
  return tensor(dtype, shape, dtype === "bool" ? Uint8Array.from(words) : bytesOfArray(words));
}

/**
 * Elements of a sub-byte type, one per entry, low bits first; 4-bit floats as their raw codes.
 * Signed types come with their sign.
 */
export function unpack(dtype: DType, bytes: Uint8Array, count: number): Int8Array {
  const bits = bitsOf(dtype);
  const perByte = 8 / bits;
  const fill = 32 - bits;
  const signed = dtype === "i4" || dtype === "i2";
  const out = new Int8Array(count);
  for (let i = 0; i < count; i++) {
    const raw = (bytes[Math.floor(i / perByte)] ?? 0) >>> (bits * (i % perByte));
    out[i] = signed ? (raw << fill) >> fill : (raw << fill) >>> fill;
  }
  return out;
}

/** The inverse of `unpack`. */
export function pack(dtype: DType, elements: Int8Array): Uint8Array {
  const bits = bitsOf(dtype);
  const perByte = 8 / bits;
  const out = new Uint8Array(byteLengthOf(dtype, elements.length));
  for (let i = 0; i < elements.length; i++) {
    const at = Math.floor(i / perByte);
    out[at] = (out[at] ?? 0) | (((elements[i] ?? 0) & (2 ** bits - 1)) << (bits * (i % perByte)));
  }
  return out;
}

function rounded(dtype: "f32" | "f64" | "f16" | "bf16", values: Float32Array | Float64Array): ArrayBufferView {
  switch (dtype) {
    case "f32":
      return values instanceof Float32Array ? values : new Float32Array(values);
    case "f64":
      return values instanceof Float64Array ? values : new Float64Array(values);
    case "f16":
      return encodeFloat16(values);
    case "bf16":
      return encodeBfloat16(values);
  }
}

function smallIntegers(t: HostTensor): Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array {
  const { buffer, byteOffset, length } = aligned(t);
  switch (t.dtype) {
    case "i8":
      return new Int8Array(buffer, byteOffset, length);
    case "u8":
      return new Uint8Array(buffer, byteOffset, length);
    case "bool":
      return new Uint8Array(buffer, byteOffset, length).map((b) => (b === 0 ? 0 : 1));
    case "i16":
      return new Int16Array(buffer, byteOffset, length);
    case "u16":
      return new Uint16Array(buffer, byteOffset, length);
    case "i32":
      return new Int32Array(buffer, byteOffset, length);
    case "u32":
      return new Uint32Array(buffer, byteOffset, length);
    case "i4":
    case "u4":
    case "i2":
    case "u2":
      return unpack(t.dtype, t.bytes, length);
    default:
      throw new EspalierError("model", describe(t), "expected numbers that can be computed with, got this type.");
  }
}

/** Where a typed array over the tensor's bytes may start; copies when the bytes lie at an odd offset. */
function aligned(t: HostTensor): { buffer: ArrayBufferLike; byteOffset: number; length: number } {
  const length = sizeOf(t.shape);
  const expected = byteLengthOf(t.dtype, length);
  if (t.bytes.byteLength !== expected) {
    throw new EspalierError("shape", describe(t), `expected ${expected} bytes, got ${t.bytes.byteLength}.`);
  }
  const width = Math.max(1, bitsOf(t.dtype) >> 3);
  const { buffer, byteOffset } = t.bytes.byteOffset % width === 0 ? t.bytes : t.bytes.slice();
  return { buffer, byteOffset, length };
}

function bytesOfArray(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function describe(t: HostTensor): string {
  return `tensor ${formatShape(t.shape)} of ${t.dtype}`;
}

/** The same numbers in another float type, rounded to the nearest; the same tensor where it has that type already or the type holds no floats. */
export function converted(tensor: HostTensor, dtype: DType): HostTensor {
  if (tensor.dtype === dtype || !isFloat(dtype)) return tensor;
  return fromFloats(dtype, tensor.shape, toFloat64(tensor));
}
