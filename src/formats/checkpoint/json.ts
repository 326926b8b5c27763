import * as z from "zod";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";

/** A JSON object as it lies in a file. */
export type Json = Readonly<Record<string, unknown>>;

const object = z.record(z.string(), z.unknown());

/** Reads a file of one JSON object of at most `most` bytes. Throws `format`. */
export async function readJson(source: ByteSource, most = 2 ** 26): Promise<Json> {
  const wrong = (got: string): EspalierError =>
    new EspalierError("format", source.name, `expected a JSON object, got ${got}.`, "Fetch the file again.");
  if (source.size > most) throw wrong(`a file of ${source.size} bytes`);
  const bytes = await source.read(0, source.size);
  const parsed = object.safeParse(parse(bytes));
  if (!parsed.success) throw wrong("something else");
  return parsed.data;
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
