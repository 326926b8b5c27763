import { byteLengthOf, type DType } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { type ByteSource, formatShape, type HostTensor, type Shape, sizeOf } from "../../tensor/tensor.ts";
import { fileRows, type Rows, residentRows, swapBytes } from "../rows.ts";
import { bytesSource, maxResidentBytes } from "./bytes.ts";

/** NumPy's array file, versions 1 to 3: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

const maxHeaderBytes = 65_536;
const maxRank = 64;

const dtypes: ReadonlyMap<string, DType> = new Map([
  ["b1", "bool"],
  ["i1", "i8"],
  ["i2", "i16"],
  ["i4", "i32"],
  ["i8", "i64"],
  ["u1", "u8"],
  ["u2", "u16"],
  ["u4", "u32"],
  ["u8", "u64"],
  ["f2", "f16"],
  ["f4", "f32"],
  ["f8", "f64"],
]);

interface NpyHeader {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly columnMajor: boolean;
  readonly bigEndian: boolean;
  /** Where the elements start. */
  readonly offset: number;
}

/** The samples of an .npy file, axis 0 counting them; read from the file as needed. Throws `format` or `data`. */
export async function openNpy(source: ByteSource, name = "data"): Promise<Rows> {
  const opened = await openArray(source, name);
  if ("read" in opened) return opened;
  throw new EspalierError("data", source.name, "expected an axis that counts samples, got a scalar.");
}

/** The same, or the one number of an array without axes. Throws `format`. */
export async function openArray(source: ByteSource, name: string): Promise<Rows | HostTensor> {
  const header = await readHeader(source);
  const { dtype, shape, bigEndian, offset } = header;
  const [count, ...row] = shape;
  if (count === undefined) return readBody(source, header);
  if (header.columnMajor) return residentRows(name, await readBody(source, header));
  const stride = byteLengthOf(dtype, sizeOf(row));
  return fileRows(name, source, { dtype, shape: row, count, offset, stride, bigEndian });
}

/** The tensor of a whole .npy file, row-major and little-endian. Throws `format`. */
export async function readNpy(file: ByteSource | Uint8Array, name = "npy"): Promise<HostTensor> {
  const source = file instanceof Uint8Array ? bytesSource(name, file) : file;
  return readBody(source, await readHeader(source));
}

/** The bytes of an .npy file, version 1.0. Throws `data` for types that NumPy does not have. */
export function writeNpy({ dtype, shape, bytes }: HostTensor): Uint8Array {
  const code = [...dtypes].find(([, known]) => known === dtype)?.[0];
  if (code === undefined) throw new EspalierError("data", "npy", `expected a type that NumPy knows, got ${dtype}.`);
  const order = code.endsWith("1") ? "|" : "<";
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const dict = `{'descr': '${order}${code}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const offset = Math.ceil((10 + dict.length + 1) / 64) * 64;
  const out = new Uint8Array(offset + bytes.length);
  const view = new DataView(out.buffer);
  out.set(magic);
  out[6] = 1;
  view.setUint16(8, offset - 10, true);
  out.set(new TextEncoder().encode(`${dict.padEnd(offset - 11)}\n`), 10);
  out.set(bytes, offset);
  return out;
}

async function readBody(source: ByteSource, header: NpyHeader): Promise<HostTensor> {
  const { dtype, shape, offset } = header;
  const length = byteLengthOf(dtype, sizeOf(shape));
  if (length > maxResidentBytes) {
    const message = `expected at most ${maxResidentBytes} bytes to hold in memory, got ${length}.`;
    throw new EspalierError("data", source.name, message, "Save it row-major (C order), so that it can be streamed.");
  }
  const read = await source.read(offset, length);
  const width = byteLengthOf(dtype, 1);
  if (header.columnMajor) {
    const bytes = rowMajor(read, shape, width);
    if (header.bigEndian) swapBytes(bytes, width);
    return { dtype, shape, bytes };
  }
  if (!header.bigEndian) return { dtype, shape, bytes: read };
  const bytes = read.slice();
  swapBytes(bytes, width);
  return { dtype, shape, bytes };
}

/** Elements with the first axis fastest, put into the order with the last axis fastest. */
function rowMajor(source: Uint8Array, shape: Shape, width: number): Uint8Array {
  const out = new Uint8Array(source.length);
  const steps: number[] = [];
  let step = width;
  for (const size of shape) {
    steps.push(step);
    step *= size;
  }
  const index = new Float64Array(shape.length);
  let from = 0;
  for (let to = 0; to < out.length; to += width) {
    for (let b = 0; b < width; b++) out[to + b] = source[from + b] ?? 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      from += steps[axis] ?? 0;
      if (next < (shape[axis] ?? 0)) {
        index[axis] = next;
        break;
      }
      from -= next * (steps[axis] ?? 0);
      index[axis] = 0;
    }
  }
  return out;
}

async function readHeader(source: ByteSource): Promise<NpyHeader> {
  if (source.size < 10) throw bad(source, "the header of an .npy file", `${source.size} bytes`);
  const prefix = await source.read(0, Math.min(12, source.size));
  if (magic.some((byte, i) => prefix[i] !== byte)) {
    throw bad(source, "an .npy file, which starts with \\x93NUMPY", "other bytes");
  }
  const major = prefix[6] ?? 0;
  if (major < 1 || major > 3) throw bad(source, "version 1, 2 or 3", String(major));
  if (major > 1 && prefix.length < 12) throw bad(source, "the header of an .npy file", `${source.size} bytes`);
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength);
  const start = major === 1 ? 10 : 12;
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const offset = start + length;
  if (length > maxHeaderBytes || offset > source.size) {
    throw bad(source, `a header of at most ${Math.min(maxHeaderBytes, source.size - start)} bytes`, String(length));
  }
  const text = new TextDecoder(major === 3 ? "utf-8" : "latin1").decode(await source.read(start, length));
  const header = { ...parseHeader(source, text), offset };
  const expected = byteLengthOf(header.dtype, sizeOf(header.shape));
  if (!Number.isSafeInteger(expected) || expected !== source.size - offset) {
    const what = `${expected} bytes of elements for ${formatShape(header.shape)} of ${header.dtype}`;
    throw bad(source, what, `${source.size - offset}`);
  }
  return header;
}

/** Reads the Python dictionary of the header: the three keys that the format has, in any order, and nothing else. */
function parseHeader(source: ByteSource, text: string): Omit<NpyHeader, "offset"> {
  let at = 0;
  const next = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return undefined;
    at = pattern.lastIndex;
    return match[1] ?? "";
  };
  let descr: string | undefined;
  let order: string | undefined;
  let shape: string | undefined;
  if (next(/\s*(\{)/y) === undefined) throw bad(source, "a dictionary as header", clip(text));
  while (next(/\s*(\})\s*$/y) === undefined) {
    const key = next(/\s*['"](\w+)['"]\s*:/y);
    if (key === "descr") {
      descr = next(/\s*['"]([^'"]*)['"]/y);
      if (descr === undefined) throw bad(source, "numbers of one plain type", `the type ${clip(text.slice(at))}`);
    } else if (key === "fortran_order") order = next(/\s*(True|False)/y);
    else if (key === "shape") shape = next(/\s*\(([\dL,\s]*)\)/y);
    else throw bad(source, "the keys descr, fortran_order and shape", clip(text.slice(at)));
    if (next(/\s*(,)/y) === undefined && next(/\s*(?=\})/y) === undefined) {
      throw bad(source, "a comma or the end of the header", clip(text.slice(at)));
    }
  }
  if (descr === undefined || order === undefined || shape === undefined) {
    throw bad(source, "the keys descr, fortran_order and shape", clip(text));
  }
  const dtype = dtypes.get(descr.slice(1));
  const endian = descr[0] ?? "";
  if (dtype === undefined || !"<>|=".includes(endian)) {
    const hint = descr.includes("O") ? "Object arrays hold Python pickles, which are not read." : "Save as float32.";
    throw bad(source, "integers, floats or booleans", `the type "${clip(descr)}"`, hint);
  }
  const dims = parseShape(source, shape);
  return { dtype, shape: dims, columnMajor: order === "True" && dims.length > 1, bigEndian: endian === ">" };
}

function parseShape(source: ByteSource, text: string): number[] {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.at(-1) === "") parts.pop();
  const dims = parts.map((part) => (/^\d+L?$/.test(part) ? Number.parseInt(part, 10) : Number.NaN));
  // A product above 2^53 is caught by the comparison with the file's size.
  if (dims.length > maxRank || !dims.every(Number.isSafeInteger)) {
    throw bad(source, `a shape of at most ${maxRank} whole numbers`, `(${clip(text)})`);
  }
  return dims;
}

function clip(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function bad(source: ByteSource, expected: string, got: string, hint = ""): EspalierError {
  return new EspalierError("format", source.name, `expected ${expected}, got ${got}.`, hint);
}
