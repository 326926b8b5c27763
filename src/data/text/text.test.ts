import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EspalierError } from "../../tensor/error.ts";
import { toInts } from "../../tensor/numeric.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import type { Tokenizer } from "../../tokenizers/tokenizer.ts";
import { fieldOf, fromTexts, joinedDocuments } from "./documents.ts";
import { jsonLines } from "./json-lines.ts";
import { parquet } from "./parquet.ts";
import { plainText } from "./plain-text.ts";
import { tokenWindows, type WindowOptions } from "./token-windows.ts";
import { cutter } from "./window-cutter.ts";

/** A token for each character, by its code; 1 begins, 2 ends, 0 fills. */
const characters: Tokenizer = {
  name: "characters",
  vocabularySize: 128,
  special: { begin: 1, end: [2], pad: 0, unknown: null },
  encode: (text) => Int32Array.from(text, (c) => c.charCodeAt(0)),
  decode: (ids) => String.fromCharCode(...Array.from(ids)),
  token: (id) => String.fromCharCode(id),
  chat: null,
};

function sourceOf(content: string | Uint8Array, name = "t"): ByteSource {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return { name, size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** Windows as text, "^" for the first token and "_" for filling, and the labels of each: "." where none counts. */
async function shown(texts: readonly string[], options: Partial<WindowOptions>): Promise<readonly string[]> {
  const data = await tokenWindows(fromTexts(texts), { tokenizer: characters, window: 6, ...options });
  const batch = await data.gather(Int32Array.from({ length: data.count }, (_, i) => i));
  const [tokens] = [...batch.inputs.values()];
  const window = data.labelShape?.[0] ?? 0;
  const text = (ids: readonly number[]): string =>
    ids.map((id) => (id === 1 ? "^" : id === 0 ? "_" : id < 0 ? "." : String.fromCharCode(id))).join("");
  const ids = tokens === undefined ? [] : toInts(tokens);
  return Array.from({ length: data.count }, (_, i) => {
    const [from, to] = [i * window, (i + 1) * window];
    return `${text(ids.slice(from, to))} ${text([...(batch.labels?.slice(from, to) ?? [])])}`;
  });
}

describe("windows of tokens", () => {
  it("follow each other through all documents, begin alike, and say each token once", async () => {
    expect(await shown(["abcdefg", "hijk"], {})).toEqual(["^abcde abcde.", "^fghij fghij.", "^k____ k....."]);
    expect(await shown(["abcdefg", "hijk"], { begin: "none" })).toEqual(["abcdef bcdef.", "ghijk_ hijk.."]);
    expect(await shown(["abcdefg", "hijk"], { begin: "document" })).toEqual(["^abcde abcde.", "fg^hij g^hij."]);
  });

  it("overlap where the stride is shorter, and predict what is new", async () => {
    expect(await shown(["abcdefgh"], { stride: 2 })).toEqual(["^abcde abcde.", "^cdefg ...fg.", "^efgh_ ...h.."]);
    const both = await shown(["abcdefgh"], { stride: 2, repeat: true, whole: true });
    expect(both).toEqual(["^abcde abcde.", "^cdefg cdefg."]);
  });

  it("of each document alone", async () => {
    const texts = ["abcdefg", "hi", ""];
    expect(await shown(texts, { perDocument: true })).toEqual(["^abcde abcde.", "^fg___ fg....", "^hi___ hi...."]);
    expect(await shown(texts, { perDocument: true, first: true })).toEqual(["^abcde abcde.", "^hi___ hi...."]);
    expect(await shown(texts, { perDocument: true, whole: true })).toEqual(["^abcde abcde."]);
  });

  it("predict every token once, whatever the stride and however the text comes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 6 }),
        fc.integer({ min: 2, max: 7 }),
        fc.integer({ min: 1, max: 7 }),
        fc.boolean(),
        (parts, body, step, begins) => {
          const stride = Math.min(step, body - (begins ? 0 : 1));
          const lead = begins ? 1 : 0;
          const predicted: number[] = [];
          const windows: string[] = [];
          const run = (sizes: readonly number[], take: (t: Int32Array, from: number, length: number) => void): void => {
            const cut = { window: body + lead, stride, begin: begins ? 99 : null, whole: false, first: false };
            const cutting = cutter(cut, -1, take);
            let at = 0;
            for (const size of sizes) cutting.add(Int32Array.from({ length: size }, () => at++));
            cutting.end();
          };
          run(parts, (tokens, from, length) => {
            windows.push(`${tokens.join()} ${from} ${length}`);
            for (let i = from; i < length; i++) predicted.push(tokens[i] ?? -1);
          });
          const size = parts.reduce((a, b) => a + b, 0);
          expect(predicted).toEqual(Array.from({ length: Math.max(0, size - 1 + lead) }, (_, i) => i + 1 - lead));
          const whole: string[] = [];
          run([size], (tokens, from, length) => whole.push(`${tokens.join()} ${from} ${length}`));
          expect(windows).toEqual(whole);
        },
      ),
    );
    // A stride that passes over text leaves it out, which the law above would see.
    const seen: number[] = [];
    const cut = { window: 2, stride: 3, begin: null, whole: false, first: false };
    const cutting = cutter(cut, -1, (tokens, from, length) => seen.push(...tokens.slice(from, length)));
    cutting.add(Int32Array.of(0, 1, 2, 3, 4, 5));
    cutting.end();
    expect(seen).toEqual([1, 4]);
  });

  it("are drawn by a seed, a smaller draw first in a larger one", async () => {
    const texts = [Array.from({ length: 400 }, (_, i) => String.fromCharCode(40 + i)).join("")];
    const draw = (limit: number, seed: number) => shown(texts, { limit, seed, begin: "none", whole: true });
    const [ten, five, other] = [await draw(10, 3), await draw(5, 3), await draw(10, 4)];
    expect(new Set(ten).size).toBe(10);
    expect(ten.slice(0, 5)).toEqual(five);
    expect(other).not.toEqual(ten);
    expect(await shown(texts, { limit: 3, whole: true })).toHaveLength(3);
    const every = await shown(texts, { begin: "none", whole: true });
    const shuffled = await shown(texts, { begin: "none", whole: true, seed: 5 });
    expect(shuffled).not.toEqual(every);
    expect([...shuffled].sort()).toEqual([...every].sort());
    // A draw of more than there are is a shuffle of all.
    expect([...(await draw(1000, 3))].sort()).toEqual([...every].sort());
  });

  it("fill what a model takes beside tokens", async () => {
    const inputs = ["attention_mask", "input_ids", "position_ids", "token_type_ids"].map((name) => ({
      ...{ name, dtype: "i64" as const, dims: ["batch", "time"] },
    }));
    const data = await tokenWindows(fromTexts(["abc"]), { tokenizer: characters, window: 5, inputs });
    const { inputs: fed } = await data.gather(Int32Array.of(0));
    const numbers = Object.fromEntries([...fed].map(([name, tensor]) => [name, toInts(tensor)]));
    expect(numbers).toEqual({
      attention_mask: [1, 1, 1, 1, 0],
      input_ids: [1, 97, 98, 99, 0],
      position_ids: [0, 1, 2, 3, 4],
      token_type_ids: [0, 0, 0, 0, 0],
    });
  });

  const cache = { name: "past.0.key", dtype: "f32" as const, dims: ["batch", 4, "past", 8] };
  const fixed = { name: "tokens", dtype: "i64" as const, dims: ["batch", 8] };
  it.each([
    [
      "empty text",
      [""],
      {},
      /texts in memory: expected text with a token to predict, got less. Give text that is not empty/,
    ],
    ["no text", [], {}, /expected text with a token to predict/],
    [
      "nothing that fills a window",
      ["abc"],
      { whole: true },
      /expected text that fills a window of 6 tokens, got less/,
    ],
    ["no window", ["abc"], { window: undefined }, /window: expected a number of tokens, got none/],
    [
      "a window beyond the positions",
      ["abc"],
      { positions: 5 },
      /at most the 5 positions of the model, got 6. Give a shorter/,
    ],
    [
      "another window than the graph's",
      ["abc"],
      { inputs: [fixed] },
      /the 8 tokens that the model's graph fixes, got 6/,
    ],
    [
      "a model with a cache",
      ["abc"],
      { inputs: [fixed, cache] },
      /takes tokens alone, got an input "past.0.key" of f32/,
    ],
    ["a stride of nothing", ["abc"], { stride: 0 }, /stride: expected a whole number from 1, got 0/],
  ])("refuse %s", async (_, texts, options, message) => {
    const { window, ...rest } = { window: 6, ...options };
    const asked = { tokenizer: characters, ...rest, ...(window === undefined ? {} : { window }) };
    await expect(tokenWindows(fromTexts(texts), asked)).rejects.toThrow(message);
  });

  it("take as many tokens as the graph fixes", async () => {
    const data = await tokenWindows(fromTexts(["abc"]), { tokenizer: characters, inputs: [fixed] });
    expect(data.features.get("tokens")).toEqual({ dtype: "i64", shape: [8] });
  });
});

describe("plain text", () => {
  it("is one document, or several between separators, read a chunk at a time", async () => {
    // Characters of three bytes and a separator lie across the borders of chunks of a mebibyte.
    const one = `${"€".repeat(349_525)}<|end|>${"x".repeat(40)}`;
    const long = `${one}<|end|>\n ${"é".repeat(600_000)}\n<|end|>`;
    expect(await all(plainText(sourceOf(long)).read())).toEqual([long]);
    const documents = await all(plainText(sourceOf(long), "<|end|>").read());
    expect(documents.map((text) => [text.length, text[0]])).toEqual([
      [349_525, "€"],
      [40, "x"],
      [600_000, "é"],
    ]);
  });

  it("that is no UTF-8 is refused", async () => {
    const bytes = Uint8Array.of(97, 0xff, 98);
    await expect(all(plainText(sourceOf(bytes, "bad.txt")).read())).rejects.toThrow(
      /bad.txt: expected UTF-8, got other bytes/,
    );
    await expect(all(plainText(sourceOf(Uint8Array.of(97, 0xe2, 0x82))).read())).rejects.toThrow(/expected UTF-8/);
  });
});

describe("records", () => {
  it("of JSON lines", async () => {
    const lines = jsonLines(sourceOf('{"text":"a\\n"}\n\n{"text":"b","n":1}', "r.jsonl"));
    expect(await all(joinedDocuments([fieldOf(lines, "text"), fromTexts(["c"])]).read())).toEqual(["a\n", "b", "c"]);
    await expect(all(fieldOf(lines, "n").read())).rejects.toThrow(
      /r.jsonl, record 0: expected a text in "n", got fields text/,
    );
    await expect(all(jsonLines(sourceOf('{"a":1}\n[1]', "r.jsonl")).read())).rejects.toThrow(/r.jsonl:2: .* got \[1\]/);
    await expect(all(jsonLines(sourceOf("{", "r.jsonl")).read())).rejects.toThrow(
      /r.jsonl:1: expected an object of JSON/,
    );
  });

  it("of Parquet, plain and compressed", async () => {
    for (const gzip of [false, true]) {
      const file = parquetFile([["a", "b €"], ["c"]], gzip);
      const records = parquet(sourceOf(file, "r.parquet"), ["text"]);
      expect(await all(fieldOf(records, "text").read())).toEqual(["a", "b €", "c"]);
    }
    const file = parquetFile([["a"]], false);
    await expect(all(parquet(sourceOf(file, "r.parquet"), ["body"]).read())).rejects.toThrow(
      /one of the columns text, got "body"/,
    );
    for (let cut = 0; cut < file.length; cut++) {
      await expect(all(parquet(sourceOf(file.slice(0, cut), "r")).read())).rejects.toBeInstanceOf(EspalierError);
    }
  });
});

/** A Parquet file with one column of texts, "text", in groups of rows: one page each, without statistics. */
function parquetFile(groups: readonly (readonly string[])[], gzip: boolean): Uint8Array {
  const out: number[] = [...new TextEncoder().encode("PAR1")];
  const footers: number[][] = [];
  for (const texts of groups) {
    const plain: number[] = [];
    for (const text of texts) {
      const bytes = new TextEncoder().encode(text);
      plain.push(bytes.length, 0, 0, 0, ...bytes);
    }
    const stored = gzip ? [...gzipSync(Uint8Array.from(plain))] : plain;
    const start = out.length;
    const page = struct(
      [i32(1, 0), i32(2, plain.length), i32(3, stored.length)],
      [5, struct([i32(1, texts.length), i32(2, 0), i32(3, 3), i32(4, 3)])],
    );
    out.push(...page, ...stored);
    const size = out.length - start;
    const meta = struct(
      [i32(1, 6), [2, 9, [0x15, ...zigzag(0)]], [3, 9, [0x18, 4, ...new TextEncoder().encode("text")]]],
      ...[i32(4, gzip ? 2 : 0), i64(5, texts.length), i64(6, plain.length), i64(7, size), i64(9, start)].map((f) => f),
    );
    footers.push(struct([[1, 9, [0x1c, ...struct([i64(2, start)], [3, meta])]], i64(2, size), i64(3, texts.length)]));
  }
  const rows = groups.reduce((n, texts) => n + texts.length, 0);
  const root = struct([[4, 8, [4, ...new TextEncoder().encode("root")]], i32(5, 1)]);
  const column = struct([i32(1, 6), i32(3, 0), [4, 8, [4, ...new TextEncoder().encode("text")]], i32(6, 0)]);
  const footer = struct([
    i32(1, 1),
    [2, 9, [0x2c, ...root, ...column]],
    i64(3, rows),
    [4, 9, [(footers.length << 4) | 0xc, ...footers.flat()]],
  ]);
  out.push(...footer, footer.length & 255, footer.length >> 8, 0, 0, ...new TextEncoder().encode("PAR1"));
  return Uint8Array.from(out);
}

/** A field of Thrift's compact protocol: number, type, bytes. */
type Field = readonly [id: number, type: number, bytes: readonly number[]];

function struct(
  fields: readonly Field[],
  ...more: readonly (Field | readonly [number, readonly number[]])[]
): number[] {
  const all_ = [...fields, ...more.map((f): Field => (f.length === 2 ? [f[0], 12, f[1]] : f))];
  let last = 0;
  const out: number[] = [];
  for (const [id, type, bytes] of all_) {
    out.push(((id - last) << 4) | type, ...bytes);
    last = id;
  }
  return [...out, 0];
}

const i32 = (id: number, value: number): Field => [id, 5, zigzag(value)];
const i64 = (id: number, value: number): Field => [id, 6, zigzag(value)];

function zigzag(value: number): number[] {
  const out: number[] = [];
  let rest = value * 2;
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest & 127) | 128);
  return [...out, rest];
}
