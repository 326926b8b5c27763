import { describe, expect, it } from "vitest";
import { toInts } from "../../tensor/numeric.ts";
import { conversation } from "../../tokenizers/chat.ts";
import type { Tokenizer } from "../../tokenizers/tokenizer.ts";
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
  return Array.from({ length: data.count }, (_, i) => {
    const part = (ids: readonly number[]) => text(ids.slice(12 * i, 12 * i + 12));
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
  ])("refuse %s", async (_, record, options, message) => {
    const { window, ...rest } = { window: 12, ...options };
    const asked = { tokenizer: characters, ...rest, ...(window === undefined ? {} : { window }) };
    await expect(dialogues(recordsOf(record), asked)).rejects.toThrow(message);
  });
});
