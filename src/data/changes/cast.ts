import { bitsOf, type DType, isFloat } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats, toFloat32, toFloat64 } from "../../tensor/numeric.ts";
import { type HostTensor, sizeOf, tensor } from "../../tensor/tensor.ts";

const ranges = {
  bool: [0, 1],
  i8: [-128, 127],
  u8: [0, 255],
  i16: [-32768, 32767],
  u16: [0, 65535],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  i64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  u64: [0, Number.MAX_SAFE_INTEGER],
} as const satisfies Partial<Record<DType, readonly [number, number]>>;

type IntegerType = keyof typeof ranges;

/** The largest finite value of a float type, where converting to it can overflow. */
const largest: ReadonlyMap<DType, number> = new Map([
  ["f16", 65504],
  ["bf16", 3.3895313892515355e38],
  ["f32", 3.4028234663852886e38],
]);

/** True where data of one type can feed an input of another, as far as the types alone tell. */
export function canCast(from: DType, to: DType): boolean {
  return from === to || (isNumber(from) && isNumber(to));
}

/**
 * The tensor as `dtype`. Floats are rounded; whole numbers must fit. Sample i lies at `positions[i]`.
 * Throws `data` naming the first sample whose value has no equal.
 */
export function castTo(dtype: DType, source: HostTensor, where: string, positions: Int32Array): HostTensor {
  if (source.dtype === dtype) return source;
  const { shape } = source;
  if (dtype === "f32" && bitsOf(source.dtype) <= 16) return fromFloats("f32", shape, toFloat32(source));
  const values = toFloat64(source);
  const refuse = (at: number, expected: string): never => {
    const rowSize = Math.max(1, sizeOf(shape.slice(1)));
    const row = Math.floor(at / rowSize);
    const got = `${values[at]} in sample ${positions[row] ?? row} at element ${at % rowSize}`;
    throw new EspalierError("data", where, `expected ${expected} for ${dtype}, got ${got} (${source.dtype}).`);
  };
  if (dtype === "f32" || dtype === "f64" || dtype === "f16" || dtype === "bf16") {
    const limit = largest.get(dtype) ?? Number.POSITIVE_INFINITY;
    // Numbers of ids and counts must arrive whole; those of measurements may be rounded.
    const exactBelow = isFloat(source.dtype) ? Number.POSITIVE_INFINITY : 2 ** mantissaBits(dtype);
    for (let i = 0; i < values.length; i++) {
      const magnitude = Math.abs(values[i] ?? 0);
      if (magnitude > limit) refuse(i, `numbers up to ${limit}`);
      if (magnitude > exactBelow) refuse(i, `whole numbers up to ${exactBelow}`);
    }
    return fromFloats(dtype, shape, values);
  }
  if (!isInteger(dtype)) throw new EspalierError("data", where, `expected ${dtype}, got ${source.dtype}.`);
  const [low, high] = ranges[dtype];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (!Number.isInteger(value) || value < low || value > high) refuse(i, `whole numbers from ${low} to ${high}`);
  }
  return tensor(dtype, shape, integerBytes(dtype, values));
}

function integerBytes(dtype: IntegerType, values: Float64Array): Uint8Array {
  const array = integerArray(dtype, values);
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function integerArray(dtype: IntegerType, values: Float64Array): ArrayBufferView {
  switch (dtype) {
    case "bool":
    case "u8":
      return new Uint8Array(values);
    case "i8":
      return new Int8Array(values);
    case "i16":
      return new Int16Array(values);
    case "u16":
      return new Uint16Array(values);
    case "i32":
      return new Int32Array(values);
    case "u32":
      return new Uint32Array(values);
    case "i64":
    case "u64": {
      const words = new Int32Array(values.length * 2);
      for (let i = 0; i < values.length; i++) {
        const value = values[i] ?? 0;
        words[2 * i] = value;
        words[2 * i + 1] = Math.floor(value / 2 ** 32);
      }
      return words;
    }
  }
}

function mantissaBits(dtype: "f32" | "f64" | "f16" | "bf16"): number {
  return { f64: 53, f32: 24, f16: 11, bf16: 8 }[dtype];
}

function isInteger(dtype: DType): dtype is IntegerType {
  return dtype in ranges;
}

function isNumber(dtype: DType): boolean {
  return isFloat(dtype) || isInteger(dtype);
}
