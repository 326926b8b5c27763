import type { DType } from "../../tensor/dtype.ts";

/** TensorProto.DataType by short name. */
const numbers: Record<DType, number> = {
  f32: 1,
  u8: 2,
  i8: 3,
  u16: 4,
  i16: 5,
  i32: 6,
  i64: 7,
  string: 8,
  bool: 9,
  f16: 10,
  f64: 11,
  u32: 12,
  u64: 13,
  c64: 14,
  c128: 15,
  bf16: 16,
  f8e4m3fn: 17,
  f8e4m3fnuz: 18,
  f8e5m2: 19,
  f8e5m2fnuz: 20,
  u4: 21,
  i4: 22,
  f4e2m1: 23,
  f8e8m0: 24,
  u2: 25,
  i2: 26,
};

const names: ReadonlyMap<number, DType> = new Map(
  // The keys of a Record<DType, …> literal are exactly the members of DType.
  (Object.keys(numbers) as DType[]).map((dtype) => [numbers[dtype], dtype]),
);

/** The number by which ONNX files name an element type. */
export function onnxNumberOf(dtype: DType): number {
  return numbers[dtype];
}

/** The element type behind ONNX's number, or undefined for a number of a newer standard. */
export function dtypeOfOnnx(number: number): DType | undefined {
  return names.get(number);
}

/** Oldest IR version that has an element type. */
export function irVersionOf(dtype: DType): number {
  const number = numbers[dtype];
  if (number <= 16) return 4;
  if (number <= 20) return 9;
  if (number <= 22) return 10;
  if (number === 23) return 11;
  return number === 24 ? 12 : 13;
}

/** True for the types that stay in memory up to 1 MiB: shapes, indices and tables are computed with, not streamed. */
export function isDiscrete(dtype: DType): boolean {
  const kind = dtype[0];
  return kind === "i" || kind === "u" || dtype === "bool" || dtype === "string";
}
