import { EspalierError } from "../tensor/error.ts";

export interface BytePairOptions {
  /** Tokens in the end: 256 bytes, the special ones, and one for each merge. */
  readonly vocabulary: number;
  /** Tokens that no text contains; they get the first ids. The first of them is put in front of every text. */
  readonly special: readonly string[];
}

/** How texts are split before pairs are counted, so that no token spans two words: the pattern of GPT-2. */
const words = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Room for ids in the key of a pair. */
const PAIR = 1 << 16;

/**
 * Learns a byte-level vocabulary by joining the most frequent pair of tokens again and again (Sennrich et al. 2016; bytes
 * as in GPT-2), and gives it as the text of a tokenizer.json. Of pairs as frequent as each other the one with the lower ids
 * is joined, so the same texts in the same order give the same bytes. Throws `request` where the texts have too few pairs.
 */
export function trainBytePairs(texts: Iterable<string>, { vocabulary, special }: BytePairOptions): string {
  const merges = vocabulary - 256 - special.length;
  if (!Number.isInteger(vocabulary) || merges < 0 || vocabulary >= PAIR) {
    const expected = `from ${256 + special.length} to ${PAIR - 1} tokens`;
    throw new EspalierError("request", "vocabulary", `expected ${expected}, got ${vocabulary}.`);
  }
  const tokens = [...special, ...byteCharacters];
  const corpus = corpusOf(texts, special.length);
  const joined: string[] = [];
  for (let next = tokens.length; joined.length < merges; next++) {
    const pair = mostFrequent(corpus.pairs);
    if (pair === undefined) {
      const message = `expected texts with ${merges} pairs to join, got ${joined.length}.`;
      throw new EspalierError("request", "vocabulary", message, "Give more text or ask for fewer tokens.");
    }
    const [left, right] = [Math.floor(pair / PAIR), pair % PAIR];
    join(corpus, left, right, next);
    const [a = "", b = ""] = [tokens[left], tokens[right]];
    tokens.push(a + b);
    joined.push(`${a} ${b}`);
  }
  return JSON.stringify(tokenizerOf(tokens, joined, special));
}

/** What pairs are counted in: different words with their counts, as tokens. */
interface Corpus {
  readonly words: { tokens: number[]; readonly count: number }[];
  /** How often each pair occurs, and the words that may hold it. */
  readonly pairs: Map<number, { count: number; readonly words: Set<number> }>;
}

function corpusOf(texts: Iterable<string>, first: number): Corpus {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const [word] of text.matchAll(words)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const encoder = new TextEncoder();
  const corpus: Corpus = {
    words: [...counts].map(([word, count]) => ({
      tokens: Array.from(encoder.encode(word), (byte) => first + byte),
      count,
    })),
    pairs: new Map(),
  };
  for (const index of corpus.words.keys()) count(corpus, index, 1);
  return corpus;
}

/** Adds the pairs of a word, or takes them away. */
function count({ words, pairs }: Corpus, index: number, sign: 1 | -1): void {
  const word = words[index];
  if (word === undefined) return;
  for (let i = 1; i < word.tokens.length; i++) {
    const key = (word.tokens[i - 1] ?? 0) * PAIR + (word.tokens[i] ?? 0);
    const entry = pairs.get(key);
    if (entry === undefined) pairs.set(key, { count: word.count, words: new Set([index]) });
    else {
      entry.count += sign * word.count;
      entry.words.add(index);
    }
  }
}

function mostFrequent(pairs: Corpus["pairs"]): number | undefined {
  let best: number | undefined;
  let most = 1;
  for (const [key, { count }] of pairs) {
    if (count < most || (count === most && (best === undefined || key > best))) continue;
    best = key;
    most = count;
  }
  return best;
}

function join(corpus: Corpus, left: number, right: number, by: number): void {
  const key = left * PAIR + right;
  for (const index of corpus.pairs.get(key)?.words ?? []) {
    const word = corpus.words[index];
    if (word === undefined) continue;
    const { tokens } = word;
    const merged: number[] = [];
    for (let i = 0; i < tokens.length; i++) {
      const both = tokens[i] === left && tokens[i + 1] === right;
      merged.push(both ? by : (tokens[i] ?? 0));
      if (both) i++;
    }
    if (merged.length === tokens.length) continue;
    count(corpus, index, -1);
    word.tokens = merged;
    count(corpus, index, 1);
  }
  corpus.pairs.delete(key);
}

/** A printable character for every byte, as byte-level vocabularies write them: bytes that print stand for themselves. */
const byteCharacters: readonly string[] = (() => {
  const prints = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(prints(byte) ? byte : next++));
})();

function tokenizerOf(tokens: readonly string[], merges: readonly string[], special: readonly string[]): unknown {
  const [begin] = special;
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: begin === undefined ? null : prefixed(begin),
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

/** A token in front of a text. */
function prefixed(begin: string): unknown {
  const first = { SpecialToken: { id: begin, type_id: 0 } };
  const [a, b] = [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }];
  return {
    type: "TemplateProcessing",
    single: [first, a],
    pair: [first, a, { SpecialToken: { id: begin, type_id: 1 } }, b],
    special_tokens: { [begin]: { id: begin, ids: [0], tokens: [begin] } },
  };
}
