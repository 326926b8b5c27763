import { bitsOf, byteLengthOf, type DType, dtypeOfOnnx } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { formatShape, type TensorRef } from "../../tensor/tensor.ts";
import type { Decoding } from "./decoding.ts";
import { isDiscrete } from "./dtypes.ts";
import { type Fields, wire } from "./fields.ts";
import { quoted } from "./label.ts";
import { discreteTensor, smallTensor } from "./scan.ts";
import type { Spans } from "./spans.ts";
import { packStrings } from "./strings.ts";

/** A reference whose data are filled in when its file has been read. */
type Draft = { -readonly [K in keyof TensorRef]: TensorRef[K] };

/** One typed field of a tensor: packed bytes, or a single number. */
interface Part {
  readonly field: number;
  readonly from: number;
  readonly to: number;
}

export interface NamedTensor {
  readonly name: string;
  readonly ref: TensorRef;
}

/** Reads a TensorProto. Large data stay in the file; data in typed fields become packed little-endian bytes. */
export function decodeTensor(f: Fields, decoding: Decoding): NamedTensor {
  decoding.count(8);
  const dims: number[] = [];
  const parts: Part[] = [];
  const strings: Uint8Array[] = [];
  const external = new Map<string, string>();
  const unknown: Uint8Array[] = [];
  let number = 0;
  let name = "";
  let raw: Part | undefined;
  let isExternal = false;
  while (f.next()) {
    const { field, from, to } = f;
    if (field === 1) f.varints(() => dims.push((f.high | 0) * 2 ** 32 + f.low));
    else if (field === 2) number = f.integer();
    else if (field === 3) throw unsupported(name, decoding, "tensors stored in segments");
    else if (field === 6) strings.push(f.bytes());
    else if (field === 4 || field === 5 || field === 7 || field === 10 || field === 11) {
      decoding.count();
      parts.push({ field, from, to });
    } else if (field === 8) name = f.string();
    else if (field === 9) {
      if (f.wire !== wire.bytes) f.message();
      raw = { field, from, to };
    } else if (field === 13) {
      const [key, value] = decodeEntry(f.message());
      external.set(key, value);
    } else if (field === 14) isExternal = f.integer() === 1;
    else unknown.push(f.raw());
  }
  const where = `tensor ${quoted(name)}`;
  const dtype = dtypeOfOnnx(number);
  if (dtype === undefined) {
    throw new EspalierError("format", where, `expected an element type from 1 to 26, got ${number}.`);
  }
  const count = elementCount(where, dims);
  decoding.count(dims.length);
  const length = byteLengthOf(dtype, count);
  const ref: Draft = { dtype, shape: dims, ...(unknown.length > 0 ? { unknown } : {}) };
  if (isExternal) readExternal(ref, external, where, length, decoding);
  else if (dtype === "string") {
    expectCount(where, count, strings.length, "strings");
    ref.resident = packStrings(strings);
  } else if (raw !== undefined) place(ref, [raw], length, where, f.spans, decoding);
  else readTyped(ref, parts, { where, count, length }, f.spans, decoding);
  return { name, ref };
}

/** A StringStringEntryProto. */
export function decodeEntry(f: Fields): readonly [string, string] {
  let key = "";
  let value = "";
  while (f.next()) {
    if (f.field === 1) key = f.string();
    else if (f.field === 2) value = f.string();
  }
  return [key, value];
}

function unsupported(name: string, decoding: Decoding, what: string): EspalierError {
  const where = name === "" ? decoding.source.name : `tensor ${quoted(name)}`;
  return new EspalierError("model", where, `expected a plain tensor, got ${what}.`, "Export the model again.");
}

function elementCount(where: string, dims: readonly number[]): number {
  let count = 1;
  for (const n of dims) {
    count *= n;
    if (!(n >= 0) || !Number.isSafeInteger(n) || !Number.isSafeInteger(count * 16)) {
      throw new EspalierError("format", where, `expected sizes that a file can hold, got ${formatShape(dims)}.`);
    }
  }
  return count;
}

function expectCount(where: string, expected: number, got: number, what: string): void {
  if (expected !== got) throw new EspalierError("format", where, `expected ${expected} ${what}, got ${got}.`);
}

/** Sets the data from byte ranges of the file that follow each other in memory. */
function place(
  ref: Draft,
  parts: readonly Part[],
  length: number,
  where: string,
  spans: Spans,
  decoding: Decoding,
): void {
  const got = parts.reduce((sum, { from, to }) => sum + to - from, 0);
  expectCount(where, length, got, "bytes of data");
  const [only] = parts;
  if (only === undefined) ref.resident = new Uint8Array(0);
  else if (parts.length === 1) {
    // A copy, because a view would keep the whole loaded part of the file and begin at any byte.
    if (spans.has(only.from, only.to)) ref.resident = spans.view(only.from, only.to).slice();
    else ref.at = { source: decoding.source, offset: only.from, length };
  } else {
    decoding.later(async () => {
      const bytes = new Uint8Array(length);
      let at = 0;
      for (const { from, to } of parts) {
        const loaded = spans.has(from, to);
        bytes.set(loaded ? spans.view(from, to) : await decoding.source.read(from, to - from), at);
        at += to - from;
      }
      ref.resident = bytes;
    });
  }
}

const typedField: Partial<Record<DType, number>> = { f32: 4, c64: 4, f64: 10, c128: 10, i64: 7, u32: 11, u64: 11 };

/** Data of float_data, int32_data, int64_data, double_data and uint64_data. */
function readTyped(
  ref: Draft,
  parts: readonly Part[],
  { where, count, length }: { where: string; count: number; length: number },
  spans: Spans,
  decoding: Decoding,
): void {
  const field = typedField[ref.dtype] ?? 5;
  const own = parts.filter((part) => part.field === field);
  if (field === 4 || field === 10) {
    place(ref, own, length, where, spans, decoding);
    return;
  }
  const bits = bitsOf(ref.dtype);
  const numbers = bits < 8 ? length : count;
  // Every number takes at least one byte of the file, so the memory is bounded by the file.
  const stored = own.reduce((sum, { from, to }) => sum + to - from, 0);
  if (stored < numbers) expectCount(where, numbers, stored, "numbers");
  const view = new DataView(new ArrayBuffer(length));
  const width = Math.max(bits, 8) / 8;
  let i = 0;
  for (const { from, to } of own) {
    const bytes = spans.view(from, to);
    for (let at = 0; at < bytes.length; i++) {
      let low = 0;
      let high = 0;
      let shift = 0;
      let byte = 0x80;
      for (; byte >= 0x80 && at < bytes.length && shift < 70; shift += 7) {
        byte = bytes[at++] ?? 0;
        const value = byte & 0x7f;
        if (shift < 28) low |= value << shift;
        else if (shift === 28) {
          low |= value << 28;
          high = value >> 4;
        } else high |= value << (shift - 32);
      }
      if (byte >= 0x80) throw new EspalierError("format", where, "expected numbers, got a cut one.");
      if (i >= numbers) continue;
      if (width === 1) view.setUint8(i, low);
      else if (width === 2) view.setUint16(i * 2, low, true);
      else view.setUint32(i * width, low, true);
      if (width === 8) view.setInt32(i * 8 + 4, high, true);
    }
  }
  expectCount(where, numbers, i, "numbers");
  ref.resident = new Uint8Array(view.buffer);
}

function readExternal(
  ref: Draft,
  entries: ReadonlyMap<string, string>,
  where: string,
  length: number,
  decoding: Decoding,
): void {
  if (ref.dtype === "string") throw new EspalierError("format", where, "expected numbers in a data file, got strings.");
  const location = entries.get("location") ?? "";
  const offset = decimal(where, "offset", entries.get("offset") ?? "0");
  expectCount(where, length, decimal(where, "length", entries.get("length") ?? String(length)), "bytes of data");
  const checksum = entries.get("checksum");
  decoding.later(async () => {
    const source = await decoding.open(where, location);
    if (offset + length > source.size) {
      throw new EspalierError(
        "format",
        where,
        `expected ${length} bytes at ${offset} of ${quoted(location)}, got the end at ${source.size}.`,
        "The data file is cut short or belongs to another model.",
      );
    }
    const small = length <= (isDiscrete(ref.dtype) ? discreteTensor : smallTensor);
    if (small && decoding.mayLoad(location, length)) ref.resident = await source.read(offset, length);
    else ref.at = { source, offset, length, ...(checksum === undefined ? {} : { checksum }) };
  });
}

function decimal(where: string, key: string, text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) {
    throw new EspalierError("format", where, `expected ${key} to be a number of bytes, got "${text.slice(0, 40)}".`);
  }
  return value;
}

/** Largest sparse tensor that is written out with its zeros. */
const largestDense = 64 * 1024 * 1024;

/**
 * Reads a SparseTensorProto as a dense tensor, which every consumer understands and which can be pruned.
 * Throws `model` above 64 MiB.
 */
export function decodeSparse(f: Fields, decoding: Decoding): NamedTensor {
  let values: NamedTensor | undefined;
  let indices: NamedTensor | undefined;
  const dims: number[] = [];
  while (f.next()) {
    if (f.field === 1) values = decodeTensor(f.message(), decoding);
    else if (f.field === 2) indices = decodeTensor(f.message(), decoding);
    else if (f.field === 3) f.varints(() => dims.push((f.high | 0) * 2 ** 32 + f.low));
  }
  const where = `sparse tensor ${quoted(values?.name ?? "")}`;
  if (values === undefined || indices === undefined || indices.ref.dtype !== "i64") {
    throw new EspalierError("format", where, "expected values and 64-bit indices, got a part of them.");
  }
  const { dtype } = values.ref;
  const length = byteLengthOf(dtype, elementCount(where, dims));
  if (bitsOf(dtype) < 8 || length > largestDense) {
    throw unsupported(values.name, decoding, `a sparse one of ${length} bytes of ${dtype} when dense`);
  }
  decoding.densify(where, length);
  const ref: Draft = { dtype, shape: dims };
  const from = values.ref;
  const positions = indices.ref;
  decoding.later(async () => {
    ref.resident = scatter(where, { from, positions, dims }, await bytesAt(from), await bytesAt(positions), length);
  });
  return { name: values.name, ref };
}

async function bytesAt(ref: TensorRef): Promise<Uint8Array> {
  if (ref.resident !== undefined) return ref.resident;
  return ref.at === undefined ? new Uint8Array(0) : ref.at.source.read(ref.at.offset, ref.at.length);
}

function scatter(
  where: string,
  sparse: { from: TensorRef; positions: TensorRef; dims: readonly number[] },
  values: Uint8Array,
  indices: Uint8Array,
  length: number,
): Uint8Array {
  const { dims } = sparse;
  const width = bitsOf(sparse.from.dtype) / 8;
  const count = values.length / width;
  // Indices are [count] positions in the flat tensor, or [count, rank] coordinates.
  const columns = sparse.positions.shape.length === 2 ? dims.length : 1;
  expectCount(where, count * columns, indices.length / 8, "indices");
  const view = new DataView(indices.buffer, indices.byteOffset, indices.byteLength);
  const dense = new Uint8Array(length);
  for (let i = 0; i < count; i++) {
    let flat = 0;
    for (let c = 0; c < columns; c++) {
      const index = Number(view.getBigInt64((i * columns + c) * 8, true));
      const size = columns === 1 && sparse.positions.shape.length !== 2 ? length / width : (dims[c] ?? 0);
      if (index < 0 || index >= size) {
        throw new EspalierError("format", where, `expected indices below ${size}, got ${index}.`);
      }
      flat = columns === 1 ? index : flat * (dims[c] ?? 0) + index;
    }
    dense.set(values.subarray(i * width, (i + 1) * width), flat * width);
  }
  return dense;
}
