import { bitsOf, byteLengthOf } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { type ByteSource, formatShape, type HostTensor, sizeOf } from "../tensor/tensor.ts";
import type { Feature } from "./dataset.ts";

/** The samples of one tensor, fetched by position: `shape` is the shape of a sample, axis 0 of the whole is `count`. */
export interface Rows extends Feature {
  readonly name: string;
  readonly count: number;
  /** Packed little-endian bytes of the samples at these positions. To be read only: they may be shared. */
  read(positions: Int32Array): Promise<Uint8Array>;
}

/** Where samples lie in a file: the first at `offset`, each `stride` bytes after the one before. */
interface RowPlan extends Feature {
  readonly count: number;
  readonly offset: number;
  readonly stride: number;
  readonly bigEndian?: boolean;
}

/** Rows of a tensor in memory. Throws `data` for a scalar and for types smaller than a byte. */
export function residentRows(name: string, tensor: HostTensor): Rows {
  const [count, ...shape] = tensor.shape;
  if (count === undefined) {
    throw new EspalierError(
      "data",
      name,
      "expected an axis that counts samples, got a scalar.",
      "Give the number once for each sample.",
    );
  }
  if (bitsOf(tensor.dtype) < 8) {
    throw new EspalierError("data", name, `expected elements of whole bytes, got ${tensor.dtype}.`);
  }
  const rowBytes = byteLengthOf(tensor.dtype, sizeOf(shape));
  if (tensor.bytes.byteLength !== rowBytes * count) {
    const got = tensor.bytes.byteLength;
    const shapeText = formatShape(tensor.shape);
    throw new EspalierError("shape", name, `expected ${rowBytes * count} bytes for ${shapeText}, got ${got}.`);
  }
  return {
    name,
    dtype: tensor.dtype,
    shape,
    count,
    async read(positions) {
      const first = positions[0] ?? 0;
      if (runLength(positions, 0) === positions.length) {
        return tensor.bytes.subarray(first * rowBytes, (first + positions.length) * rowBytes);
      }
      const out = new Uint8Array(positions.length * rowBytes);
      for (let i = 0; i < positions.length; i++) {
        const from = (positions[i] ?? 0) * rowBytes;
        out.set(tensor.bytes.subarray(from, from + rowBytes), i * rowBytes);
      }
      return out;
    },
  };
}

/** Tensors in memory as rows; one without axes is the same for each of the samples that the others hold. Throws `data`. */
export function residentRowsOf(tensors: ReadonlyMap<string, HostTensor>): readonly Rows[] {
  const [count] = [...tensors.values()].find(({ shape }) => shape.length > 0)?.shape ?? [];
  return [...tensors].map(([name, tensor]) =>
    tensor.shape.length > 0 || count === undefined ? residentRows(name, tensor) : repeatedRow(name, tensor, count),
  );
}

/** One sample `count` times over. */
export function repeatedRow(name: string, { dtype, shape, bytes }: HostTensor, count: number): Rows {
  return {
    name,
    dtype,
    shape,
    count,
    async read(positions) {
      const out = new Uint8Array(positions.length * bytes.length);
      for (let i = 0; i < positions.length; i++) out.set(bytes, i * bytes.length);
      return out;
    },
  };
}

/** Rows that stay in their file; neighbours are read together. */
export function fileRows(name: string, source: ByteSource, plan: RowPlan): Rows {
  const { dtype, shape, count, offset, stride } = plan;
  const rowBytes = byteLengthOf(dtype, sizeOf(shape));
  const swap = plan.bigEndian === true && bitsOf(dtype) > 8;
  return {
    name,
    dtype,
    shape,
    count,
    async read(positions) {
      const first = positions[0] ?? 0;
      if (stride === rowBytes && !swap && runLength(positions, 0) === positions.length) {
        return source.read(offset + first * stride, positions.length * rowBytes);
      }
      const out = new Uint8Array(positions.length * rowBytes);
      for (let i = 0; i < positions.length; ) {
        const run = runLength(positions, i);
        const at = offset + (positions[i] ?? 0) * stride;
        const bytes = await source.read(at, (run - 1) * stride + rowBytes);
        if (stride === rowBytes) out.set(bytes, i * rowBytes);
        else {
          for (let k = 0; k < run; k++) {
            out.set(bytes.subarray(k * stride, k * stride + rowBytes), (i + k) * rowBytes);
          }
        }
        i += run;
      }
      if (swap) swapBytes(out, bitsOf(dtype) / 8);
      return out;
    },
  };
}

/** Reverses the bytes of every element in place. */
export function swapBytes(bytes: Uint8Array, width: number): void {
  for (let at = 0; at + width <= bytes.length; at += width) {
    for (let low = at, high = at + width - 1; low < high; low++, high--) {
      const byte = bytes[low] ?? 0;
      bytes[low] = bytes[high] ?? 0;
      bytes[high] = byte;
    }
  }
}

/** How many positions from `start` on follow each other. */
function runLength(positions: Int32Array, start: number): number {
  const first = positions[start] ?? 0;
  let run = 1;
  while (start + run < positions.length && positions[start + run] === first + run) run++;
  return run;
}
