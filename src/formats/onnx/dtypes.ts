import { type DType, onnxNumberOf } from "../../tensor/dtype.ts";

/** Oldest IR version that has an element type. */
export function irVersionOf(dtype: DType): number {
  const number = onnxNumberOf(dtype);
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
