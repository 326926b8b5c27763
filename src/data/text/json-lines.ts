import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import type { Records } from "./documents.ts";
import { pieces } from "./read-text.ts";

/** The objects of a .jsonl file, one on each line; empty lines are passed over. Throws `data` for other lines. */
export function jsonLines(source: ByteSource): Records {
  return {
    description: source.name,
    async *read() {
      let line = 0;
      for await (const text of pieces(source, "\n")) {
        line++;
        if (text.trim() === "") continue;
        yield objectOf(text, `${source.name}:${line}`);
      }
    },
  };
}

function objectOf(text: string, where: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new EspalierError("data", where, "expected an object of JSON, got other text.", "", { cause });
  }
  if (isObject(value)) return value;
  throw new EspalierError("data", where, `expected an object of JSON, got ${JSON.stringify(value)?.slice(0, 40)}.`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
