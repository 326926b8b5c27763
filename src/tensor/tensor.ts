import { bitsOf, byteLengthOf, type DType } from "./dtype.ts";
import { EspalierError } from "./error.ts";

/** Sizes of the axes, outermost first. Row-major everywhere. */
export type Shape = readonly number[];

/** A dense tensor in memory: little-endian packed bytes of `dtype`, row-major. */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly bytes: Uint8Array;
}

/**
 * Bytes that live elsewhere: a range of a file, a Blob or a remote object.
 * `path` is set where the runtime can map the file itself.
 */
export interface ByteSource {
  readonly name: string;
  readonly path?: string;
  readonly size: number;
  /** Reads exactly `length` bytes at `offset`; throws `format` where the source ends before. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/**
 * A tensor whose bytes may still lie in their file. `resident` is there when they are in memory already; `made` when
 * they are computed anew each time they are asked for, so that changed weights need not fit in memory together.
 */
export interface TensorRef {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly resident?: Uint8Array;
  readonly at?: {
    readonly source: ByteSource;
    readonly offset: number;
    readonly length: number;
    /** What the model file says to be the SHA-1 of the whole source; carried, not checked. */
    readonly checksum?: string;
  };
  readonly made?: {
    /** What it is computed from. */
    readonly from: TensorRef;
    readonly by: () => Promise<Uint8Array>;
  };
  /** Fields of a file that espalier carries and does not look into, such as a doc string. */
  readonly unknown?: readonly Uint8Array[];
}

/** True for the same sizes in the same order. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

/** Number of elements; 1 for a scalar. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const n of shape) size *= n;
  return size;
}

/** `[2, 3]` as text, the way messages print shapes. */
export function formatShape(shape: readonly (number | string | null)[]): string {
  return `[${shape.map((n) => n ?? "?").join(", ")}]`;
}

/** Wraps a host tensor as a resident reference. */
export function refOf(tensor: HostTensor): TensorRef {
  return { dtype: tensor.dtype, shape: tensor.shape, resident: tensor.bytes };
}

/** Reads the bytes of a reference, wherever they are. */
export async function load(ref: TensorRef): Promise<HostTensor> {
  if (ref.resident !== undefined) return { dtype: ref.dtype, shape: ref.shape, bytes: ref.resident };
  if (ref.made !== undefined) return tensor(ref.dtype, ref.shape, await ref.made.by());
  if (ref.at === undefined) throw new EspalierError("format", "tensor", "expected data, got none.");
  return { dtype: ref.dtype, shape: ref.shape, bytes: await ref.at.source.read(ref.at.offset, ref.at.length) };
}

/** Reads the bytes of a reference into memory that the caller may change. */
export async function loadOwn(ref: TensorRef): Promise<HostTensor> {
  const loaded = await load(ref);
  // What is read from a file or made is new each time; a copy would double the memory of a large weight.
  const own = ref.resident === undefined && (ref.made !== undefined || ref.at?.source.path !== undefined);
  return own && loaded.bytes.byteOffset % 8 === 0 ? loaded : { ...loaded, bytes: new Uint8Array(loaded.bytes) };
}

/** Stored bytes of a reference. */
export function bytesOf(ref: TensorRef): number {
  return ref.dtype === "string" ? (ref.resident?.length ?? 0) : byteLengthOf(ref.dtype, sizeOf(ref.shape));
}

/** A host tensor over new or given bytes, checked for length. */
export function tensor(dtype: DType, shape: Shape, bytes?: Uint8Array): HostTensor {
  const length = byteLengthOf(dtype, sizeOf(shape));
  if (bytes !== undefined && bitsOf(dtype) > 0 && bytes.byteLength !== length) {
    throw new EspalierError(
      "shape",
      `tensor ${formatShape(shape)} of ${dtype}`,
      `expected ${length} bytes, got ${bytes.byteLength}.`,
    );
  }
  return { dtype, shape, bytes: bytes ?? new Uint8Array(length) };
}
