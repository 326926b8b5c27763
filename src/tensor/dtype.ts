/** Element types of ONNX tensors under short names. Sub-byte types are packed, low bits first. */
export type DType =
  | "f32"
  | "f64"
  | "f16"
  | "bf16"
  | "f8e4m3fn"
  | "f8e4m3fnuz"
  | "f8e5m2"
  | "f8e5m2fnuz"
  | "f8e8m0"
  | "f4e2m1"
  | "i8"
  | "i16"
  | "i32"
  | "i64"
  | "i4"
  | "i2"
  | "u8"
  | "u16"
  | "u32"
  | "u64"
  | "u4"
  | "u2"
  | "bool"
  | "string"
  | "c64"
  | "c128";

const bits: Record<DType, number> = {
  f32: 32,
  f64: 64,
  f16: 16,
  bf16: 16,
  f8e4m3fn: 8,
  f8e4m3fnuz: 8,
  f8e5m2: 8,
  f8e5m2fnuz: 8,
  f8e8m0: 8,
  f4e2m1: 4,
  i8: 8,
  i16: 16,
  i32: 32,
  i64: 64,
  i4: 4,
  i2: 2,
  u8: 8,
  u16: 16,
  u32: 32,
  u64: 64,
  u4: 4,
  u2: 2,
  bool: 8,
  string: 0,
  c64: 64,
  c128: 128,
};

/** Bits of one element; 0 for strings, whose elements have no fixed size. */
export function bitsOf(dtype: DType): number {
  return bits[dtype];
}

/** Bytes of `count` packed elements. */
export function byteLengthOf(dtype: DType, count: number): number {
  return Math.ceil((count * bits[dtype]) / 8);
}

/** Types whose elements are real numbers that can be computed with. */
export type FloatType = "f32" | "f64" | "f16" | "bf16";

/** True for the types that a weight can have and still be read as real numbers. */
export function isFloat(dtype: DType): dtype is FloatType {
  return dtype === "f32" || dtype === "f64" || dtype === "f16" || dtype === "bf16";
}

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
