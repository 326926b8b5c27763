import * as z from "zod";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";

/** A JSON object as it lies in a file. */
export type Json = Readonly<Record<string, unknown>>;

/** An object, and the names of its fields whose numbers are written with a fraction though they are whole: 30.0. */
export interface JsonFile {
  readonly json: Json;
  readonly fractions: ReadonlySet<string>;
}

const object = z.record(z.string(), z.unknown());

/** Reads a file of one JSON object of at most `most` bytes. Throws `format`. */
export async function readJson(source: ByteSource, most = 2 ** 26): Promise<Json> {
  return (await read(source, most)).json;
}

/** The same, with what tells a number with a fraction from a whole one, which readers of other languages take to be other types. */
export async function readJsonFile(source: ByteSource, most = 2 ** 26): Promise<JsonFile> {
  const { json, text } = await read(source, most);
  return { json, fractions: fractionsIn(text) };
}

async function read(source: ByteSource, most: number): Promise<{ readonly json: Json; readonly text: string }> {
  const wrong = (got: string): EspalierError =>
    new EspalierError("format", source.name, `expected a JSON object, got ${got}.`, "Fetch the file again.");
  if (source.size > most) throw wrong(`a file of ${source.size} bytes`);
  const text = decoded(await source.read(0, source.size));
  const parsed = object.safeParse(parse(text));
  if (!parsed.success) throw wrong("something else");
  return { json: parsed.data, text };
}

/** An object as text that reads as it was read: numbers of `fractions` keep their fraction. `indent` is that of JSON.stringify. */
export function jsonText(json: Json, fractions: ReadonlySet<string>, indent: string | number = 2): string {
  const marked = (value: unknown): unknown => {
    const isWhole = typeof value === "number" && Number.isInteger(value) && !String(value).includes("e");
    return isWhole ? `${mark}${value}.0` : value;
  };
  const text = JSON.stringify(
    json,
    (key, value: unknown) => {
      if (!fractions.has(key)) return value;
      return Array.isArray(value) ? value.map(marked) : marked(value);
    },
    indent,
  );
  return text.replace(/"\\u0000(-?\d+\.0)"/g, "$1");
}

/** Begins texts that stand for numbers while JSON is written. */
const mark = "\u0000";

/** The fields of a JSON text with a whole number that is written with a fraction or an exponent, alone or in a list. */
export function fractionsIn(text: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (const [, name = "", value = ""] of text.matchAll(/"([^"\\]*)"\s*:\s*(\[[^\][{}"]*\]|-?\d[-+.eE\d]*)/g)) {
    const numbers = value.match(/-?\d[-+.eE\d]*/g) ?? [];
    if (numbers.some((number) => /[.eE]/.test(number) && Number.isInteger(Number(number)))) found.add(name);
  }
  return found;
}

function decoded(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return "";
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
