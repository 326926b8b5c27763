import { existsSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { trainBytePairs } from "./byte-pairs.ts";
import { openTokenizer } from "./open-tokenizer.ts";
import { checkVocabulary } from "./tokenizer.ts";
import { tokenizerAt } from "./tokenizer-files.node.ts";

const stories = join(process.env["ESPALIER_DATA"] ?? "nowhere", "models/stories260K");

describe.skipIf(!existsSync(stories))("stories260K", () => {
  it("gives the ids of llama2.c, and the text back", async () => {
    const tokenizer = await tokenizerAt(stories);
    const text = "Once upon a time, there was a little girl named Lily.";
    const ids = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426];
    expect([...tokenizer.encode(text, { special: true })]).toEqual(ids);
    expect([...tokenizer.encode(text)]).toEqual(ids.slice(1));
    expect(tokenizer.decode(ids)).toBe(text);
    // The library would take the space before a comma away.
    expect(tokenizer.decode(tokenizer.encode("a , b 's"))).toBe("a , b 's");
    expect(tokenizer).toMatchObject({
      vocabularySize: 512,
      special: { begin: 1, end: [2], pad: 0, unknown: 0 },
      chat: null,
    });
    expect(tokenizer.token(403)).toBe("▁Once");
    expect(tokenizer.token(512)).toBeNull();
  });
});

const text = "the cat sat on the mat, the cat ate the rat\n\tif (x) { the(); } 🐈 été ".repeat(2);

const small = (tokens = 280): string => trainBytePairs([text], { vocabulary: tokens, special: ["<end>"] });

describe("byte pairs", () => {
  it("are joined by frequency, lower ids first, as counting anew each time joins them", () => {
    const { merges } = JSON.parse(small(270)).model;
    expect(merges).toEqual(counted(text, 13, false));
    expect(counted(text, 13, true)).not.toEqual(merges);
  });

  it("give any text back", async () => {
    const tokenizer = await openTokenizer({ name: "small", tokenizer: small() });
    expect(tokenizer.vocabularySize).toBe(280);
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme" }), async (given) => {
        fc.pre(!given.includes("<end>"));
        expect(tokenizer.decode(tokenizer.encode(given))).toBe(given);
      }),
    );
    expect([...tokenizer.encode("the", { special: true })][0]).toBe(0);
    expect(tokenizer.encode("the").length).toBe(1);
    expect(tokenizer.encode("").length).toBe(0);
    expect(tokenizer.decode([])).toBe("");
  });

  it("say where texts are too short and vocabularies too small", () => {
    expect(() => trainBytePairs(["ab"], { vocabulary: 300, special: [] })).toThrow(
      /texts with 44 pairs to join, got 0/,
    );
    expect(() => trainBytePairs([text], { vocabulary: 100, special: [] })).toThrow(/from 256 to 65535 tokens, got 100/);
  });
});

/** The first merges by counting all pairs of all words anew each time. `last` takes the highest of equals. */
function counted(given: string, count: number, last: boolean): string[] {
  const { vocab } = JSON.parse(small(257)).model;
  const names: string[] = [];
  for (const [token, id] of Object.entries(vocab)) names[Number(id)] = token;
  const words = [...given.matchAll(/ ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu)].map(([word]) =>
    Array.from(new TextEncoder().encode(word), (byte) => byte + 1),
  );
  const merges: string[] = [];
  while (merges.length < count) {
    const pairs = new Map<string, { ids: readonly [number, number]; times: number }>();
    for (const word of words) {
      for (let i = 1; i < word.length; i++) {
        const ids = [word[i - 1] ?? 0, word[i] ?? 0] as const;
        pairs.set(ids.join(), { ids, times: (pairs.get(ids.join())?.times ?? 0) + 1 });
      }
    }
    const order = (a: readonly [number, number], b: readonly [number, number]) => a[0] - b[0] || a[1] - b[1];
    const sorted = [...pairs.values()].sort((a, b) => b.times - a.times || order(a.ids, b.ids) * (last ? -1 : 1));
    const [left = 0, right = 0] = sorted[0]?.ids ?? [];
    merges.push(`${names[left]} ${names[right]}`);
    names.push(`${names[left]}${names[right]}`);
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) {
        if (word[i] === left && word[i + 1] === right) word.splice(i, 2, names.length - 1);
      }
    }
  }
  return merges;
}

describe("a tokenizer.json", () => {
  const with_ = (change: (json: ReturnType<typeof JSON.parse>) => void): string => {
    const json = JSON.parse(small());
    change(json);
    return JSON.stringify(json);
  };
  it.each([
    ["no JSON", "{", /expected an object of JSON with a "model", got something else/],
    ["no vocabulary", '{"model":{"type":"BPE"}}', /expected a vocabulary in the model, got undefined/],
    [
      "an empty vocabulary",
      '{"model":{"type":"BPE","vocab":{}}}',
      /expected a vocabulary with tokens, got an empty one/,
    ],
    ["a huge id", with_((j) => (j.model.vocab.the = 2 ** 31)), /below 4194304 as the id of "the", got 2147483648/],
    ["a negative id", with_((j) => (j.model.vocab.the = -1)), /as the id of "the", got -1/],
    ["an id twice", with_((j) => (j.model.vocab.zzz = 5)), /an id of its own for every token, got one twice/],
    ["broken merges", with_((j) => (j.model.merges[3] = 7)), /expected pairs of texts as merges/],
    ["added tokens that are none", with_((j) => (j.added_tokens = [{ id: 3 }])), /a text in every added token/],
    [
      "an unknown kind",
      with_((j) => (j.model.type = "Abacus")),
      /expected a model of BPE, WordPiece, Unigram, got "Abacus"/,
    ],
    ["an unknown step", with_((j) => (j.pre_tokenizer = { type: "Magic" })), /expected a tokenizer of a known kind/],
  ])("with %s is refused", async (_, tokenizer, message) => {
    await expect(openTokenizer({ name: "t", tokenizer })).rejects.toThrow(message);
  });

  it("must not have more tokens than the embedding has rows", async () => {
    const tokenizer = await openTokenizer({ name: "small", tokenizer: small() });
    expect(() => checkVocabulary(tokenizer, 279, "model")).toThrow(
      /model: expected an embedding of at least 280 rows for small, got 279/,
    );
    checkVocabulary(tokenizer, 280, "model");
    checkVocabulary(tokenizer, 320, "model");
  });

  it("knows special ids from its configuration before the model's", async () => {
    const models = ['{"bos_token_id": 7, "eos_token_id": [8, 9]}', '{"eos_token_id": 10, "pad_token_id": 99999}'];
    const told = await openTokenizer({
      name: "t",
      tokenizer: small(),
      config: '{"bos_token": {"content": "<end>"}}',
      models,
    });
    expect(told.special).toEqual({ begin: 0, end: [8, 9], pad: null, unknown: null });
  });
});

describe("conversations", () => {
  const config = JSON.stringify({
    bos_token: "<end>",
    chat_template:
      "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
  });
  const turns = [{ role: "user", content: "Hi {{ there }}" }];
  it("are written by the template", async () => {
    const { chat } = await openTokenizer({ name: "t", tokenizer: small(), config });
    expect(await chat?.(turns, { answer: true })).toBe("<end>[user] Hi {{ there }}\n[assistant]");
    expect(await chat?.(turns)).toBe("<end>[user] Hi {{ there }}\n");
    await expect(chat?.([{ role: "tool", content: "" }])).rejects.toThrow(
      /chat template: expected a conversation .* no tools/,
    );
  });
});
