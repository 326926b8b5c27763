import type * as Ort from "onnxruntime-web";
import { packStrings, unpackStrings } from "../../formats/onnx/strings.ts";
import type { DType } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { formatShape, type HostTensor, sizeOf } from "../../tensor/tensor.ts";

type OrtType = Ort.Tensor.Type;
type OrtData = Ort.Tensor["data"];
/** The constructor of the package that runs: node and web each have their own. */
export type OrtTensorConstructor = typeof Ort.Tensor;

const ortTypes: Partial<Record<DType, OrtType>> = {
  f32: "float32",
  f64: "float64",
  f16: "float16",
  i8: "int8",
  i16: "int16",
  i32: "int32",
  i64: "int64",
  u8: "uint8",
  u16: "uint16",
  u32: "uint32",
  u64: "uint64",
  bool: "bool",
  string: "string",
};

const dtypes: Record<OrtType, DType> = {
  float32: "f32",
  float64: "f64",
  float16: "f16",
  int8: "i8",
  int16: "i16",
  int32: "i32",
  int64: "i64",
  uint8: "u8",
  uint16: "u16",
  uint32: "u32",
  uint64: "u64",
  bool: "bool",
  string: "string",
  int4: "i4",
  uint4: "u4",
};

/** espalier's name of a runtime element type. */
export function dtypeOf(type: OrtType): DType {
  return dtypes[type];
}

/** True for element types that a session can take as an input. */
export function canBeFed(dtype: DType): boolean {
  return ortTypes[dtype] !== undefined;
}

/** The runtime's tensor over the same bytes; copies only bytes that are misaligned or in shared memory. Throws `runtime` for types that cannot be fed. */
export function toOrt(tensor: HostTensor, Tensor: OrtTensorConstructor, name: string): Ort.Tensor {
  const type = ortTypes[tensor.dtype];
  if (type === undefined) {
    throw new EspalierError(
      "runtime",
      name,
      `expected a type that the runtime can be fed with, got ${tensor.dtype}.`,
      "Convert it to f32 or f16 first.",
    );
  }
  const dims = [...tensor.shape];
  if (type === "string") return new Tensor(type, unpackStrings(tensor.bytes), dims);
  const bytes = usable(tensor.bytes, elementBytes[type]);
  const { buffer, byteOffset, byteLength } = bytes;
  if (byteLength !== sizeOf(dims) * elementBytes[type]) {
    throw new EspalierError(
      "shape",
      name,
      `expected ${sizeOf(dims) * elementBytes[type]} bytes for ${formatShape(dims)} of ${tensor.dtype}, got ${byteLength}.`,
    );
  }
  switch (type) {
    case "float32":
      return new Tensor(type, new Float32Array(buffer, byteOffset, byteLength / 4), dims);
    case "float64":
      return new Tensor(type, new Float64Array(buffer, byteOffset, byteLength / 8), dims);
    case "float16":
    case "uint16":
      return new Tensor(type, new Uint16Array(buffer, byteOffset, byteLength / 2), dims);
    case "int16":
      return new Tensor(type, new Int16Array(buffer, byteOffset, byteLength / 2), dims);
    case "int8":
      return new Tensor(type, new Int8Array(buffer, byteOffset, byteLength), dims);
    case "int32":
      return new Tensor(type, new Int32Array(buffer, byteOffset, byteLength / 4), dims);
    case "uint32":
      return new Tensor(type, new Uint32Array(buffer, byteOffset, byteLength / 4), dims);
    case "int64":
      return new Tensor(type, new BigInt64Array(buffer, byteOffset, byteLength / 8), dims);
    case "uint64":
      return new Tensor(type, new BigUint64Array(buffer, byteOffset, byteLength / 8), dims);
    default:
      return new Tensor(type === "bool" ? "bool" : "uint8", bytes, dims);
  }
}

/** A host tensor over the runtime's own output bytes, without a copy. */
export function fromOrt(value: Ort.Tensor): HostTensor {
  const data: OrtData = value.data;
  const shape = [...value.dims];
  if (Array.isArray(data)) return { dtype: "string", shape, bytes: packStrings(data.map(String)) };
  if (!ArrayBuffer.isView(data)) throw new EspalierError("runtime", "output", "expected numbers or strings.");
  return { dtype: dtypes[value.type], shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

const elementBytes: Record<OrtType, number> = {
  float32: 4,
  float64: 8,
  float16: 2,
  int8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
  uint8: 1,
  uint16: 2,
  uint32: 4,
  uint64: 8,
  bool: 1,
  string: 0,
  int4: 1,
  uint4: 1,
};

/** Typed arrays need aligned offsets, and the runtime refuses shared buffers. */
function usable(bytes: Uint8Array, alignment: number): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && bytes.byteOffset % alignment === 0) {
    return new Uint8Array(buffer, bytes.byteOffset, bytes.byteLength);
  }
  return new Uint8Array(bytes);
}
