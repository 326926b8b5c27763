import { EspalierError } from "../../tensor/error.ts";

/** Texts in an order, read one after the other, as often as wanted. */
export interface Documents {
  /** What they are, for the report. */
  readonly description: string;
  read(): AsyncIterable<string>;
}

/** Rows of named values, read likewise: lines of a .jsonl file, rows of a Parquet file. */
export interface Records {
  readonly description: string;
  read(): AsyncIterable<Readonly<Record<string, unknown>>>;
}

/** Documents in memory. */
export function fromTexts(texts: readonly string[], description = "texts in memory"): Documents {
  return {
    description,
    async *read() {
      yield* texts;
    },
  };
}

/** Documents of several sources, one behind the other. */
export function joinedDocuments(parts: readonly Documents[]): Documents {
  return {
    description: parts.map(({ description }) => description).join(" + "),
    async *read() {
      for (const part of parts) yield* part.read();
    },
  };
}

/** Records of several sources, likewise. */
export function joinedRecords(parts: readonly Records[]): Records {
  return {
    description: parts.map(({ description }) => description).join(" + "),
    async *read() {
      for (const part of parts) yield* part.read();
    },
  };
}

/** One field of records as documents. Throws `data` where a record does not have it as text. */
export function fieldOf(records: Records, name: string): Documents {
  return {
    description: `"${name}" of ${records.description}`,
    async *read() {
      let number = 0;
      for await (const record of records.read())
        yield textOf(record, name, `${records.description}, record ${number++}`);
    },
  };
}

const naming =
  "Name the field that holds it: --field; of dialogues --prompt and --response, or --messages, a list of turns.";

/** A field as text. Throws `data` where it is none. */
export function textOf(record: Readonly<Record<string, unknown>>, name: string, where: string): string {
  const value = record[name];
  if (typeof value === "string") return value;
  const known = Object.keys(record).slice(0, 5).join(", ");
  const got = value === undefined ? `fields ${known}` : typeof value;
  throw new EspalierError("data", where, `expected a text in "${name}", got ${got}.`, naming);
}
