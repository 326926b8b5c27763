import * as z from "zod";
import { bitsOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource, TensorRef } from "../../tensor/tensor.ts";
import { dtypeNamed } from "./dtypes.ts";

/** What a safetensors file holds. */
export interface Safetensors {
  readonly tensors: ReadonlyMap<string, TensorRef>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** The format's own limit on headers. */
const MOST_HEADER = 100_000_000;
const MOST_AXES = 64;

const size = z.int().min(0);
const entry = z.strictObject({
  dtype: z.string(),
  shape: z.array(size).max(MOST_AXES),
  data_offsets: z.tuple([size, size]),
});
const header = z.record(z.string(), z.unknown());
const metadata = z.record(z.string(), z.string());

/**
 * Reads the header of a safetensors file; tensors stay in the file until they are loaded. Bytes are hostile: the tensors
 * must lie one behind the other without gaps or overlaps and fill the file, as the format asks. Throws `format`.
 */
export async function readSafetensors(source: ByteSource): Promise<Safetensors> {
  const wrong = (message: string): EspalierError =>
    new EspalierError("format", source.name, message, "The file is damaged or no safetensors file; fetch it again.");
  if (source.size < 8) throw wrong(`expected at least 8 bytes, got ${source.size}.`);
  const start = await source.read(0, 8);
  const length = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(Math.min(MOST_HEADER, source.size - 8))) {
    throw wrong(`expected a header inside the file of ${source.size} bytes, got one of ${length}.`);
  }
  const from = 8 + Number(length);
  const parsed = header.safeParse(jsonOf(await source.read(8, Number(length))));
  if (!parsed.success) throw wrong("expected a header of JSON, got something else.");
  const tensors = new Map<string, TensorRef>();
  const places: { readonly name: string; readonly begin: number; readonly end: number }[] = [];
  let notes: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of Object.entries(parsed.data)) {
    if (name === "__metadata__") {
      const texts = metadata.safeParse(value);
      if (!texts.success) throw wrong("expected metadata of texts, got something else.");
      notes = new Map(Object.entries(texts.data));
      continue;
    }
    const found = entry.safeParse(value);
    if (!found.success) throw wrong(`expected dtype, shape and data_offsets of "${name}", got something else.`);
    const { dtype: kind, shape, data_offsets: offsets } = found.data;
    const [begin, end] = offsets;
    const dtype = dtypeNamed(kind);
    if (dtype === undefined) throw wrong(`expected a known element type of "${name}", got ${kind}.`);
    const bits = shape.reduce((product, n) => product * BigInt(n), BigInt(bitsOf(dtype)));
    if (end < begin || bits !== 8n * BigInt(end - begin)) {
      throw wrong(`expected ${bits / 8n} bytes of "${name}", got ${end - begin}.`);
    }
    tensors.set(name, { dtype, shape, at: { source, offset: from + begin, length: end - begin } });
    places.push({ name, begin, end });
  }
  places.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const { name, begin, end } of places) {
    if (begin !== at) throw wrong(`expected "${name}" to begin at ${at}, got ${begin}.`);
    at = end;
  }
  if (from + at !== source.size) throw wrong(`expected the file to end at ${from + at}, got ${source.size} bytes.`);
  return { tensors, metadata: notes };
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
