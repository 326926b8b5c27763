import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { trainBytePairs } from "../byte-pairs.ts";
import { openTokenizer } from "../open-tokenizer.ts";
import type { Json } from "../tokenizer-json.ts";
import { tokenizerJson } from "../tokenizer-json.ts";
import { chooseTokens } from "./choose-tokens.ts";
import { type FittedTokenizer, fitTokenizer } from "./fit-tokenizer.ts";
import { neededTokens } from "./needed.ts";
import { renumbered } from "./renumbered.ts";
import { vocabularyOf } from "./vocabulary.ts";

const textsOf = (...texts: string[]) => ({
  async *read() {
    yield* texts;
  },
});

const rowsOf = (tokenizer: string): number => tokenizerJson(tokenizer, "t").vocabularySize;

const smaller = (tokenizer: string, texts: string[], budget = {}): Promise<FittedTokenizer> =>
  fitTokenizer({ name: "t", tokenizer }, textsOf(...texts), { rows: rowsOf(tokenizer), ...budget });

/** Every document is the same tokens; any other text reads as it did. */
async function checkLaws(tokenizer: string, corpus: string[], others: string[]): Promise<FittedTokenizer> {
  const old = await openTokenizer({ name: "t", tokenizer });
  const fitted = await smaller(tokenizer, corpus);
  const { tokenizer: now, chosen } = fitted;
  for (const text of corpus) {
    expect([...now.encode(text)].map((id) => chosen.kept[id])).toEqual([...old.encode(text)]);
  }
  const less = await smaller(tokenizer, corpus, { count: leastOf(tokenizer) });
  for (const text of [...corpus, ...others]) {
    const read = old.decode(old.encode(text));
    expect(now.decode(now.encode(text))).toBe(read);
    expect(less.tokenizer.decode(less.tokenizer.encode(text))).toBe(read);
  }
  expect([...chosen.kept]).toEqual([...new Set(chosen.kept)].sort((a, b) => a - b));
  return fitted;
}

const leastOf = (tokenizer: string): number => neededTokens(vocabularyOf(tokenizerJson(tokenizer, "t"))).always.size;

const added = (...contents: [string, number][]) =>
  contents.map(([content, id]) => ({
    ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  }));

const byteTokens = Array.from({ length: 256 }, (_, n) => `<0x${n.toString(16).toUpperCase().padStart(2, "0")}>`);

/** Tokens of up to so many characters, in a drawn order. */
const drawnTokens = (alphabet: string) =>
  fc.uniqueArray(fc.string({ unit: fc.constantFrom(...alphabet), minLength: 2, maxLength: 5 }), { maxLength: 60 });
const drawnTexts = (alphabet: string) =>
  fc.array(fc.string({ unit: fc.constantFrom(...alphabet, " "), maxLength: 40 }), { minLength: 1, maxLength: 6 });

/** Pairs whose joins are tokens, the most of them of tokens before: as vocabularies without a list of merges are converted. */
function mergesOf(tokens: readonly string[], known: ReadonlySet<string>): [string, string][] {
  const all = new Set([...known, ...tokens]);
  return tokens.flatMap((token) =>
    Array.from({ length: token.length - 1 }, (_, i): [string, string] => [
      token.slice(0, i + 1),
      token.slice(i + 1),
    ]).filter(([left, right]) => all.has(left) && all.has(right)),
  );
}

function sentencePieceLike(tokens: readonly string[]): string {
  const characters = [..."▁abc"];
  const list = [...new Set(["<unk>", "<s>", ...byteTokens, ...characters, ...tokens])];
  const replace = (from: string, to: string) => ({ type: "Replace", pattern: { String: from }, content: to });
  return JSON.stringify({
    added_tokens: added(["<unk>", 0], ["<s>", 1]),
    normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, replace(" ", "▁")] },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [
        replace("▁", " "),
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      ...{ type: "BPE", unk_token: "<unk>", fuse_unk: true, byte_fallback: true },
      vocab: Object.fromEntries(list.map((token, id) => [token, id])),
      merges: mergesOf(tokens, new Set(characters)),
    },
  });
}

function wordPiece(tokens: readonly string[], characters = [..."abc"]): string {
  const inside = tokens.map((token, i) => (i % 2 === 0 ? token : `##${token}`));
  const list = new Set([
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    ...characters,
    ...characters.map((c) => `##${c}`),
    ...inside,
  ]);
  return JSON.stringify({
    added_tokens: added(["[PAD]", 0], ["[UNK]", 1], ["[CLS]", 2], ["[SEP]", 3]),
    padding: { strategy: "BatchLongest", pad_id: 0, pad_token: "[PAD]" },
    normalizer: null,
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: { type: "BertProcessing", sep: ["[SEP]", 3], cls: ["[CLS]", 2] },
    decoder: { type: "WordPiece", prefix: "##", cleanup: false },
    model: {
      ...{ type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100 },
      vocab: Object.fromEntries([...list].map((token, id) => [token, id])),
    },
  });
}

function unigram(tokens: readonly string[]): string {
  const list = [...new Set(["<s>", "<pad>", "<unk>", ..."▁abc", ...tokens])];
  const metaspace = { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true };
  return JSON.stringify({
    added_tokens: added(["<s>", 0], ["<pad>", 1], ["<unk>", 2]),
    normalizer: null,
    pre_tokenizer: metaspace,
    post_processor: null,
    decoder: metaspace,
    model: {
      type: "Unigram",
      unk_id: 2,
      vocab: list.map((token, id) => [token, id < 3 ? 0 : -2 - ((id * 7919) % 13)]),
    },
  });
}

/** BPE that marks ends of words and knows no bytes. */
function wordEnds(tokens: readonly string[]): string {
  const characters = [..."abc"].flatMap((c) => [c, `${c}</w>`]);
  const marked = tokens.map((token, i) => (i % 2 === 0 ? token : `${token}</w>`));
  const known = new Set([...characters, ...marked]);
  const merges = marked.flatMap((token) => {
    const [body, end] = token.endsWith("</w>") ? [token.slice(0, -4), "</w>"] : [token, ""];
    return Array.from({ length: body.length - 1 }, (_, i) => [
      body.slice(0, i + 1),
      `${body.slice(i + 1)}${end}`,
    ]).filter((pair) => pair.every((part) => known.has(part)));
  });
  return JSON.stringify({
    added_tokens: added(["<unk>", 0]),
    normalizer: null,
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: null,
    decoder: { type: "BPEDecoder", suffix: "</w>" },
    model: {
      ...{ type: "BPE", unk_token: "<unk>", end_of_word_suffix: "</w>", fuse_unk: false },
      vocab: Object.fromEntries(["<unk>", ...known].map((token, id) => [token, id])),
      merges: merges.map((pair) => pair.join(" ")),
    },
  });
}

describe("a smaller tokenizer cuts the corpus as before and reads back any text", () => {
  it.each([
    ["BPE with bytes to fall back on", sentencePieceLike, "▁abc"],
    ["WordPiece", wordPiece, "abc"],
    ["Unigram", unigram, "▁abc"],
    ["BPE with marked ends of words", wordEnds, "abc"],
  ])("%s, drawn", async (_, make, alphabet) => {
    await fc.assert(
      fc.asyncProperty(
        drawnTokens(alphabet),
        drawnTexts("abcdé"),
        drawnTexts("abcdé"),
        async (tokens, corpus, others) => {
          await checkLaws(make(tokens), corpus, others);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("bytes, learnt from drawn texts", async () => {
    const words = fc.array(fc.constantFrom("the", "there", "then", "hen", "été", "🐈", "\n"), {
      minLength: 8,
      maxLength: 30,
    });
    await fc.assert(
      fc.asyncProperty(words, words, fc.string({ unit: "grapheme" }), async (learnt, used, other) => {
        fc.pre(!other.includes("<end>"));
        const tokenizer = trainBytePairs([`${learnt.join(" ")} there then été`.repeat(3)], {
          vocabulary: 268,
          special: ["<end>"],
        });
        const fitted = await checkLaws(tokenizer, [used.join(" ")], [other, "<end>x"]);
        expect(fitted.chosen.kept.length).toBeGreaterThanOrEqual(257);
      }),
      { numRuns: 40 },
    );
  });

  it.each([
    ["tinylm", "examples/tinylm", 1024],
    ["stories260K", join(process.env["ESPALIER_DATA"] ?? "nowhere", "models/stories260K"), 512],
  ])("%s", async (_, folder, rows) => {
    if (!existsSync(folder)) return expect(folder).toContain("nowhere");
    const tokenizer = readFileSync(join(folder, "tokenizer.json"), "utf8");
    const corpus = ["Once upon a time there was a girl.", "She was happy; the girl was Lily.\n"];
    const fitted = await checkLaws(tokenizer, corpus, ["Struct été {\t🐈 }", " = = Valkyria = ="]);
    expect(fitted.chosen.kept.length).toBeLessThan(0.7 * rows);
    expect(fitted.chosen.used).toBeGreaterThan(10);
  });
});

describe("what stays", () => {
  const text = "aabb aab ab bb aabbab";
  const tokenizer = sentencePieceLike(["aa", "ab", "bb", "aab", "aabb", "▁aabb"]);

  it("is all that is formed on the way, without which the corpus is cut otherwise", async () => {
    const vocabulary = vocabularyOf(tokenizerJson(tokenizer, "t"));
    const id = (token: string): number => vocabulary.ids.get(token) ?? -1;
    const { chosen } = await smaller(tokenizer, [" aabb"]);
    const formed = ["a", "b", "aa", "bb", "aabb", "▁aabb"].map(id);
    expect(chosen.kept).toEqual(expect.arrayContaining(formed));
    expect(chosen.kept).not.toContain(id("c"));
    // One token of the corpus, and without what it is made of none at all.
    const without = chosen.kept.filter((one) => one !== id("bb"));
    const json = renumbered(vocabulary, new Map(without.map((one, place) => [one, place])), "t");
    const faulty = await openTokenizer({ name: "t", tokenizer: JSON.stringify(json) });
    const old = await openTokenizer({ name: "t", tokenizer });
    expect([...faulty.encode(" aabb")].map((one) => without[one])).not.toEqual([...old.encode(" aabb")]);
    expect(faulty.decode(faulty.encode(" aabb"))).toBe(old.decode(old.encode(" aabb")));
  });

  it("is the most frequent where fewer are asked for, and the first of the makers where more are", async () => {
    const least = leastOf(tokenizer);
    const { chosen, before, after, recut } = await smaller(tokenizer, [text], { count: least + 4 });
    expect(chosen.kept.length).toBeLessThanOrEqual(least + 4);
    expect(after.tokens).toBeGreaterThan(before.tokens);
    expect(recut).toBe(1);
    const filled = await smaller(tokenizer, [""], { roundTo: 6 });
    expect(filled.chosen.kept.length % 6).toBe(0);
    const padded = await smaller(tokenizer, [text], { roundTo: 64, rows: 400 });
    expect(padded.chosen.kept.length).toBe(320);
    expect(padded.chosen.kept.at(-1)).toBeGreaterThan(rowsOf(tokenizer));
    await expect(smaller(tokenizer, [text], { count: least - 1 })).rejects.toThrow(
      `at least ${least} tokens, got ${least - 1}`,
    );
  });

  it("is what was found in front of what is not known", async () => {
    // "abq" is not known, since nothing holds "q" alone behind "ab"; without "ab" it would be "a" and "##bq".
    const tokenizer = wordPiece(["ab", "bq"], ["a", "b", "x"]);
    const corpus = ["abq x"];
    const fitted = await smaller(tokenizer, corpus);
    expect(fitted.repaired).toBe(1);
    expect(fitted.apart).toEqual(["##q"]);
    const old = await openTokenizer({ name: "t", tokenizer });
    const ids = [...fitted.tokenizer.encode("abq x")].map((id) => fitted.chosen.kept[id]);
    expect(ids).toEqual([...old.encode("abq x")]);
    expect(ids[0]).toBe(1);
  });

  it("is renumbered wherever the file numbers it", async () => {
    const tokenizer = wordPiece(["ab", "ca", "bb", "cc"]);
    const { json, chosen } = await smaller(tokenizer, ["ab"], { keep: [] });
    const vocabulary = vocabularyOf(tokenizerJson(JSON.stringify(json), "t"));
    expect(vocabulary.tokens.get(0)).toBe("[PAD]");
    expect(json).toMatchObject({
      padding: { pad_id: 0 },
      post_processor: { sep: ["[SEP]", 3], cls: ["[CLS]", 2] },
    });
    // Other places for the special tokens, which the library then finds by these.
    const whole = vocabularyOf(tokenizerJson(tokenizer, "t"));
    const turned = [...chosen.kept].reverse();
    const places = new Map(turned.map((id, place) => [id, place]));
    const other: Json = renumbered(whole, places, "t");
    const last = turned.length - 1;
    expect(other).toMatchObject({
      padding: { pad_id: last },
      post_processor: { sep: ["[SEP]", last - 3], cls: ["[CLS]", last - 2] },
      added_tokens: [{ id: last - 3 }, { id: last - 2 }, { id: last - 1 }, { id: last }],
    });
    expect(() => renumbered(whole, new Map([[0, 0]]), "t")).toThrow(/expected to keep the token of an added token/);
  });

  it("of a unigram model leaves no hole, and what is unknown costs what it did", async () => {
    const tokenizer = unigram(["ab", "abc"]);
    const whole = vocabularyOf(tokenizerJson(tokenizer, "t"));
    const { always } = neededTokens(whole);
    const lowest = whole.scores.indexOf(Math.min(...whole.scores));
    expect(always.has(lowest)).toBe(true);
    const places = new Map([...always].map((id, place) => [id, place + 1]));
    expect(() => renumbered(whole, places, "t")).toThrow(/got a hole/);
    const none = { rows: whole.tokens.size };
    expect(chooseTokens(whole, neededTokens(whole), [], none, "t").kept.length).toBe(always.size);
  });
});
