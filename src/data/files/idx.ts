import { byteLengthOf, type DType } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { type ByteSource, formatShape, sizeOf } from "../../tensor/tensor.ts";
import { fileRows, type Rows } from "../rows.ts";
import { bytesSource, gunzip } from "./bytes.ts";

const dtypes: ReadonlyMap<number, DType> = new Map([
  [0x08, "u8"],
  [0x09, "i8"],
  [0x0b, "i16"],
  [0x0c, "i32"],
  [0x0d, "f32"],
  [0x0e, "f64"],
]);

const maxRank = 8;

/**
 * The samples of an idx file (MNIST's format), gzipped or not. Grey images, bytes of [count, rows, columns],
 * become samples [1, rows, columns]. Throws `format`.
 */
export async function openIdx(file: ByteSource, name = "data"): Promise<Rows> {
  const source = await expanded(file);
  const start = await source.read(0, Math.min(4, source.size));
  const dtype = dtypes.get(start[2] ?? 0);
  const rank = start[3] ?? 0;
  const offset = 4 + 4 * rank;
  if (start[0] !== 0 || start[1] !== 0 || dtype === undefined || rank < 1 || rank > maxRank || source.size < offset) {
    const message = `expected the header of an idx file, got ${start.length === 4 ? [...start].join(" ") : "too few bytes"}.`;
    throw new EspalierError("format", file.name, message);
  }
  const header = await source.read(4, 4 * rank);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const [count = 0, ...shape] = Array.from({ length: rank }, (_, i) => view.getUint32(4 * i));
  const stride = byteLengthOf(dtype, sizeOf(shape));
  // Not a safe integer when the product is absurd, and then not the file's size either.
  if (count * stride !== source.size - offset) {
    const got = `${source.size - offset}`;
    const what = `${count * stride} bytes for ${formatShape([count, ...shape])} of ${dtype}`;
    throw new EspalierError("format", file.name, `expected ${what}, got ${got}.`, "The file is cut off or damaged.");
  }
  const grey = dtype === "u8" && shape.length === 2 ? [1, ...shape] : shape;
  return fileRows(name, source, { dtype, shape: grey, count, offset, stride, bigEndian: true });
}

async function expanded(file: ByteSource): Promise<ByteSource> {
  const start = await file.read(0, Math.min(2, file.size));
  if (start[0] !== 0x1f || start[1] !== 0x8b) return file;
  return bytesSource(file.name, await gunzip(file));
}
