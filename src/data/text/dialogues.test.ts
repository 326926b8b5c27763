import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toInts } from "../../tensor/numeric.ts";
import { conversation } from "../../tokenizers/chat.ts";
import type { Tokenizer } from "../../tokenizers/tokenizer.ts";
import { openData } from "../open.node.ts";
import { type DialogueOptions, dialogues } from "./dialogues.ts";
import type { Records } from "./documents.ts";

const template =
  "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}!{% endfor %}{% if add_generation_prompt %}<a>{% endif %}";

/** A token for each character, by its code; 1 begins, 2 ends, 0 fills. "xy" is one token, 200. */
const characters: Tokenizer = {
  name: "characters",
  vocabularySize: 256,
  special: { begin: 1, end: [2], pad: 0, unknown: null },
  encode: (text, { special = false } = {}) => {
    const ids = (text.match(/xy|[\s\S]/g) ?? []).map((piece) => (piece === "xy" ? 200 : piece.charCodeAt(0)));
    return Int32Array.from(special ? [1, ...ids] : ids);
  },
  decode: () => "",
  token: () => null,
  chat: conversation(template, {}, "characters"),
};

const recordsOf = (...records: Readonly<Record<string, unknown>>[]): Records => ({
  description: "records",
  async *read() {
    yield* records;
  },
});

/** Tokens and labels of each sample as text: "^" begins, "$" ends, "_" fills, "." does not count. */
async function shown(records: Records, options: Partial<DialogueOptions> = {}): Promise<readonly string[]> {
  const data = await dialogues(records, { tokenizer: characters, window: 12, ...options });
  const { inputs, labels } = await data.gather(Int32Array.from({ length: data.count }, (_, i) => i));
  const [tokens] = [...inputs.values()];
  const names = new Map([
    [0, "_"],
    [1, "^"],
    [2, "$"],
    [-1, "."],
    [200, "X"],
  ]);
  const text = (ids: readonly number[]): string => ids.map((id) => names.get(id) ?? String.fromCharCode(id)).join("");
  const window = data.labelShape?.[0] ?? 0;
  return Array.from({ length: data.count }, (_, i) => {
    const part = (ids: readonly number[]) => text(ids.slice(window * i, window * (i + 1)));
    return `${part(tokens === undefined ? [] : toInts(tokens))} ${part([...(labels ?? [])])}`;
  });
}

describe("prompts with responses", () => {
  it("have labels where the response is, and its end", async () => {
    const records = recordsOf({ prompt: "ab", response: "cde" }, { prompt: "q", response: "r" });
    expect(await shown(records)).toEqual(["^abcde$_____ ..cde$......", "^qr$________ .r$........."]);
    expect(await shown(records, { wholeText: true })).toEqual([
      "^abcde$_____ abcde$......",
      "^qr$________ qr$.........",
    ]);
    const named = recordsOf({ question: "ab", answer: "cde" });
    expect(await shown(named, { prompt: "question", response: "answer" })).toEqual(["^abcde$_____ ..cde$......"]);
  });

  it("whose border lies inside a token count the token", async () => {
    expect(await shown(recordsOf({ prompt: "ax", response: "yb" }))).toEqual(["^aXb$_______ .Xb$........"]);
  });

  it("are written as the chat template has it", async () => {
    const turns = [
      { role: "user", content: "b" },
      { role: "assistant", content: "c" },
    ];
    const expected = ["<u>b!<a>c!__ .......c!..."];
    expect(await shown(recordsOf({ messages: turns }), { messages: "messages" })).toEqual(expected);
    expect(await shown(recordsOf({ prompt: "b", response: "c" }), { chat: true })).toEqual(expected);
  });

  it("that are too long are left out, and said so", async () => {
    const records = recordsOf({ prompt: "ab", response: "cdefghijklmnop" }, { prompt: "q", response: "r" });
    const data = await dialogues(records, { tokenizer: characters, window: 12 });
    expect(data.count).toBe(1);
    expect(data.description).toContain("1 responses in 12 tokens each, 1 longer ones left out");
    const long = dialogues(records, { tokenizer: characters, window: 3 });
    await expect(long).rejects.toThrow(/records: expected samples of at most 3 tokens, got 2 that are longer/);
  });

  it("lie one behind the other in full windows where these are asked for", async () => {
    const records = recordsOf(
      { prompt: "ab", response: "cde" },
      { prompt: "q", response: "r" },
      { prompt: "", response: "stuvw" },
    );
    // ^abcde$^qr$^stuvw$ in windows of 6; what does not fill the last is left out.
    expect(await shown(records, { packed: true, window: 6 })).toEqual([
      "^abcde ..cde.",
      "$^qr$^ ..r$..",
      "stuvw$ tuvw$.",
    ]);
    expect(await shown(records, { packed: true, window: 7 })).toEqual(["^abcde$ ..cde$.", "^qr$^st .r$.st."]);
    await expect(shown(records, { packed: true, window: 40 })).rejects.toThrow(/responses that fill a window of 40/);
  });

  it("have in windows just the labels that they have alone, but for those on borders", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "x", "y"), minLength: 1, maxLength: 7 });
    const pair = fc.record({ prompt: word, response: word });
    return fc.assert(
      fc.asyncProperty(
        fc.array(pair, { minLength: 1, maxLength: 9 }),
        fc.integer({ min: 2, max: 9 }),
        async (pairs, window) => {
          // By hand: every token with whether it counts, all in a row.
          const row: { readonly id: number; readonly counts: boolean }[] = [];
          for (const record of pairs) {
            const alone = await dialogues(recordsOf(record), { tokenizer: characters, window: 32 });
            const { inputs, labels } = await alone.gather(Int32Array.of(0));
            const [tensor] = [...inputs.values()];
            const ids = tensor === undefined ? [] : toInts(tensor);
            const length = ids.indexOf(2) + 1;
            for (let i = 0; i < length; i++)
              row.push({ id: ids[i] ?? 0, counts: i > 0 && (labels?.[i - 1] ?? -1) >= 0 });
          }
          const count = Math.floor(row.length / window);
          if (count === 0) return;
          const data = await dialogues(recordsOf(...pairs), { tokenizer: characters, window, packed: true });
          expect(data.count).toBe(count);
          const { inputs, labels } = await data.gather(Int32Array.from({ length: count }, (_, i) => i));
          const [tensor] = [...inputs.values()];
          expect(tensor === undefined ? [] : toInts(tensor)).toEqual(row.slice(0, count * window).map(({ id }) => id));
          const expected = row.slice(0, count * window).map((_, i) => {
            const next = row[i + 1];
            return (i + 1) % window === 0 || next === undefined || !next.counts ? -1 : next.id;
          });
          expect([...(labels ?? [])]).toEqual(expected);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("come in an order that the seed decides, as many as are wanted", async () => {
    const records = recordsOf(...["a", "b", "c", "d", "e", "f"].map((prompt) => ({ prompt, response: prompt })));
    const all = await shown(records, { window: 4 });
    expect(all[0]).toBe("^aa$ .a$.");
    expect(await shown(records, { window: 4, limit: 2 })).toEqual(all.slice(0, 2));
    const drawn = await shown(records, { window: 4, limit: 3, seed: 1 });
    expect(new Set(drawn).size).toBe(3);
    for (const one of drawn) expect(all).toContain(one);
    expect(await shown(records, { window: 4, limit: 3, seed: 2 })).not.toEqual(drawn);
    const packed = await shown(records, { window: 4, seed: 1, packed: true });
    expect(packed.toSorted()).toEqual(all.toSorted());
    expect(packed).not.toEqual(all);
  });

  it("are read from files by the names of their fields", async () => {
    const folder = mkdtempSync(join(tmpdir(), "dialogues-"));
    try {
      const pairs = join(folder, "pairs.jsonl");
      writeFileSync(pairs, ['{"question":"ab","answer":"cd"}', '{"question":"e","answer":"f"}'].join("\n"));
      const text = { tokenizer: characters, window: 6, prompt: "question", response: "answer" };
      const data = await openData(pairs, { text });
      expect(data.description).toContain("2 responses in 6 tokens each");
      expect([...((await data.gather(Int32Array.of(0))).labels ?? [])]).toEqual([-1, -1, 99, 100, 2, -1]);
      const packed = await openData(pairs, { text: { ...text, whole: true, window: 5 } });
      expect(packed.description).toContain("2 responses in 2 windows of 5 tokens");
      const turns = join(folder, "turns.jsonl");
      writeFileSync(turns, '{"messages":[{"role":"user","content":"b"},{"role":"assistant","content":"c"}]}');
      const chat = await openData(turns, { text: { tokenizer: characters, window: 12, messages: "messages" } });
      expect(chat.count).toBe(1);
      await expect(openData(turns, { text: { tokenizer: characters, window: 12 } })).rejects.toThrow(/--messages/);
      const plain = join(folder, "plain.txt");
      writeFileSync(plain, "a text");
      await expect(openData(plain, { text })).rejects.toThrow(/prompts and responses in .jsonl or .parquet/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it.each([
    ["another field", { text: "a" }, {}, /record 0: expected a text in "prompt", got fields text/],
    ["no turns", { messages: [] }, { messages: "messages" }, /at least two turns of { role, content }/],
    ["broken turns", { messages: [{ role: "u" }, { role: "a", content: "b" }] }, { messages: "messages" }, /two turns/],
    [
      "no template",
      { prompt: "a", response: "b" },
      { chat: true, tokenizer: { ...characters, chat: null } },
      /a chat template, got none/,
    ],
    [
      "no window",
      { prompt: "a", response: "b" },
      { window: undefined },
      /window: expected a number of tokens, got none/,
    ],
    [
      "a window beyond the model's positions",
      { prompt: "a", response: "b" },
      { positions: 8 },
      /at most the 8 positions of the model, got 12/,
    ],
  ])("refuse %s", async (_, record, options, message) => {
    const { window, ...rest } = { window: 12, ...options };
    const asked = { tokenizer: characters, ...rest, ...(window === undefined ? {} : { window }) };
    await expect(dialogues(recordsOf(record), asked)).rejects.toThrow(message);
  });
});
