import { byteLengthOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { toInts } from "../../tensor/numeric.ts";
import { bytesOf, formatShape, load, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import type { Json } from "./json.ts";
import type { Checkpoint } from "./open.ts";

const compressedEnding = ".compressed";
const parts = [".bitmask", ".shape", ".row_offsets"] as const;

/**
 * The checkpoint with dense tensors in the place of those that compressed-tensors stored as non-zeros and bitmasks:
 * `p.compressed` holds the values in row order, `p.bitmask` a bit for each position of a row, low bits first. They are
 * unpacked each time they are loaded. Throws `format` where the parts contradict each other.
 */
export async function withoutBitmasks(checkpoint: Checkpoint): Promise<Checkpoint> {
  if (![...checkpoint.tensors.keys()].some((name) => name.endsWith(compressedEnding))) return checkpoint;
  const tensors = new Map<string, TensorRef>();
  const shardOf = new Map<string, string>();
  for (const [name, ref] of checkpoint.tensors) {
    const shard = checkpoint.shardOf.get(name) ?? "";
    const base = baseOf(name, checkpoint);
    if (base === undefined) {
      tensors.set(name, ref);
      shardOf.set(name, shard);
    } else if (name.endsWith(compressedEnding)) {
      // Stores with two of four lose the ending that their shape tensor would tell apart.
      const dense = checkpoint.tensors.has(`${base}.row_offsets`) || base.endsWith(".weight") ? base : `${base}.weight`;
      tensors.set(dense, await denseOf(base, ref, checkpoint));
      shardOf.set(dense, shard);
    }
  }
  return { ...checkpoint, config: withoutSparsity(checkpoint.config), tensors, shardOf };
}

/** What is dense now is not to be said to be compressed. */
function withoutSparsity(config: Json): Json {
  const { sparsity_config: _, ...rest } = config;
  const kept: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(rest)) {
    const holder = field === "quantization_config" || field === "compression_config";
    if (!holder || typeof value !== "object" || value === null) kept[field] = value;
    else {
      const parts = Object.entries(value).filter(([name]) => name !== "sparsity_config");
      const quantised = parts.some(
        ([name, part]) => name === "config_groups" && part !== null && JSON.stringify(part) !== "{}",
      );
      if (quantised) kept[field] = Object.fromEntries(parts);
    }
  }
  return kept;
}

function baseOf(name: string, { tensors }: Checkpoint): string | undefined {
  for (const ending of [compressedEnding, ...parts]) {
    if (!name.endsWith(ending)) continue;
    const base = name.slice(0, -ending.length);
    if (tensors.has(`${base}${compressedEnding}`)) return base;
  }
  return undefined;
}

async function denseOf(base: string, values: TensorRef, { name, tensors }: Checkpoint): Promise<TensorRef> {
  const where = `${name}: ${base}`;
  const bitmask = tensors.get(`${base}.bitmask`);
  const sizes = tensors.get(`${base}.shape`);
  if (bitmask === undefined || sizes === undefined || sizeOf(sizes.shape) !== 2) {
    throw new EspalierError("format", where, 'expected a bitmask and a shape of two sizes beside ".compressed".');
  }
  const [rows = 0, columns = 0] = toInts(await load(sizes));
  const shape = [rows, columns];
  const lineBytes = Math.ceil(columns / 8);
  const fits = rows >= 0 && columns >= 0 && bitmask.dtype === "u8" && sizeOf(bitmask.shape) === rows * lineBytes;
  if (!fits) {
    const expected = `expected a bitmask u8 [${rows}, ${lineBytes}] for ${formatShape(shape)}`;
    throw new EspalierError("format", where, `${expected}, got ${bitmask.dtype} ${formatShape(bitmask.shape)}.`);
  }
  const width = byteLengthOf(values.dtype, 1);
  const by = async (): Promise<Uint8Array> => {
    const [mask, packed] = [(await load(bitmask)).bytes, (await load(values)).bytes];
    const dense = new Uint8Array(rows * columns * width);
    let from = 0;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        if ((((mask[row * lineBytes + (column >> 3)] ?? 0) >> (column & 7)) & 1) === 0) continue;
        const to = (row * columns + column) * width;
        for (let i = 0; i < width; i++) dense[to + i] = packed[from + i] ?? 0;
        from += width;
      }
    }
    if (from === bytesOf(values)) return dense;
    const message = `expected as many values as the bitmask has ones, ${from / width}, got ${bytesOf(values) / width}.`;
    throw new EspalierError("format", where, message, "The file is damaged; fetch it again.");
  };
  return { dtype: values.dtype, shape, made: { from: values, by } };
}
