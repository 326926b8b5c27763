import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { ValueInfo } from "../../graph/graph.ts";
import type { DType } from "../../tensor/dtype.ts";
import { dtypeOfOnnx, onnxNumberOf } from "../../tensor/dtype.ts";
import type { Decoding } from "./decoding.ts";
import { Fields, wire } from "./fields.ts";

type Dims = readonly (number | string | null)[];

interface TensorType {
  readonly dtype: DType;
  readonly dims?: Dims;
}

/** Reads a ValueInfoProto. What its type says beyond element type and sizes stays in `raw`. */
export function decodeValueInfo(f: Fields, decoding: Decoding): ValueInfo {
  decoding.count(8);
  let name = "";
  let raw: Uint8Array | undefined;
  let type: TensorType | undefined;
  const unknown: Uint8Array[] = [];
  while (f.next()) {
    if (f.field === 1) name = f.string();
    else if (f.field === 2) {
      raw = f.bytes().slice();
      type = decodeType(f.message(), decoding);
    } else unknown.push(f.raw());
  }
  const rest: Pick<ValueInfo, "unknown"> = unknown.length > 0 ? { unknown } : {};
  if (type === undefined) return { name, dtype: null, ...(raw === undefined ? {} : { raw }), ...rest };
  const plain = raw === undefined || sameBytes(raw, encodeTensorType(type, []));
  return { name, ...type, ...(plain || raw === undefined ? {} : { raw }), ...rest };
}

/** The TypeProto of a value, or undefined where nothing is known. */
export function encodeType(info: ValueInfo): Uint8Array | undefined {
  if (info.dtype === null) return info.raw;
  const type = { dtype: info.dtype, ...(info.dims === undefined ? {} : { dims: info.dims }) };
  if (info.raw === undefined) return encodeTensorType(type, []);
  const stored = tensorTypeOf(Fields.of(info.name, info.raw));
  // The file's own bytes also hold denotations of dimensions, which are right only while the dimensions are.
  const same = stored.type !== undefined && sameBytes(encodeTensorType(stored.type, []), encodeTensorType(type, []));
  return same ? info.raw : encodeTensorType(type, stored.others);
}

/** The tensor type of a TypeProto, or undefined for sequences, maps, optionals and newer element types. */
function decodeType(f: Fields, decoding: Decoding): TensorType | undefined {
  const { type } = tensorTypeOf(f);
  decoding.count(type?.dims?.length ?? 0);
  return type;
}

function tensorTypeOf(f: Fields): { type?: TensorType; others: Uint8Array[] } {
  let type: TensorType | undefined;
  const others: Uint8Array[] = [];
  while (f.next()) {
    if (f.field === 1) type = decodeTensorType(f.message());
    else if (f.field === 6) others.push(f.raw());
  }
  return { ...(type === undefined ? {} : { type }), others };
}

function decodeTensorType(f: Fields): TensorType | undefined {
  let number = 0;
  let dims: Dims | undefined;
  while (f.next()) {
    if (f.field === 1) number = f.integer();
    else if (f.field === 2) dims = decodeShape(f.message());
  }
  const dtype = dtypeOfOnnx(number);
  return dtype === undefined ? undefined : { dtype, ...(dims === undefined ? {} : { dims }) };
}

function decodeShape(f: Fields): Dims {
  const dims: (number | string | null)[] = [];
  while (f.next()) if (f.field === 1) dims.push(decodeDimension(f.message()));
  return dims;
}

/** Some exporters write -1 for an unknown size. */
function decodeDimension(f: Fields): number | string | null {
  let size: number | string | null = null;
  while (f.next()) {
    if (f.field === 1) {
      const value = f.integer();
      size = value < 0 ? null : value;
    } else if (f.field === 2) size = f.string() || null;
  }
  return size;
}

function encodeTensorType({ dtype, dims }: TensorType, others: readonly Uint8Array[]): Uint8Array {
  const w = new BinaryWriter().tag(1, wire.bytes).fork().tag(1, wire.varint).int64(onnxNumberOf(dtype));
  if (dims !== undefined) {
    w.tag(2, wire.bytes).fork();
    for (const size of dims) {
      w.tag(1, wire.bytes).fork();
      if (typeof size === "number") w.tag(1, wire.varint).int64(size);
      else if (size !== null) w.tag(2, wire.bytes).string(size);
      w.join();
    }
    w.join();
  }
  w.join();
  for (const other of others) w.raw(other);
  return w.finish();
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
