import type { DType } from "../../tensor/dtype.ts";

/** Element types by the names that safetensors files use. */
const names: ReadonlyMap<string, DType> = new Map([
  ["BOOL", "bool"],
  ["U8", "u8"],
  ["I8", "i8"],
  ["U16", "u16"],
  ["I16", "i16"],
  ["U32", "u32"],
  ["I32", "i32"],
  ["U64", "u64"],
  ["I64", "i64"],
  ["F16", "f16"],
  ["BF16", "bf16"],
  ["F32", "f32"],
  ["F64", "f64"],
  ["C64", "c64"],
  ["F8_E4M3", "f8e4m3fn"],
  ["F8_E5M2", "f8e5m2"],
  ["F8_E8M0", "f8e8m0"],
  ["F4", "f4e2m1"],
]);

const back: ReadonlyMap<DType, string> = new Map([...names].map(([name, dtype]) => [dtype, name]));

/** The element type behind a name; undefined for one that espalier does not know. */
export function dtypeNamed(name: string): DType | undefined {
  return names.get(name);
}

/** The name of an element type; undefined for types that the format does not have. */
export function nameOf(dtype: DType): string | undefined {
  return back.get(dtype);
}
