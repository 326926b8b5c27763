import type { Tokenizer } from "../tokenizer.ts";

/** Texts one after the other, as often as wanted. */
export interface Texts {
  read(): AsyncIterable<string>;
}

/** How often texts use each token. */
export interface TokenUsage {
  /** By id. */
  readonly counts: Float64Array;
  readonly tokens: number;
  readonly documents: number;
  /** Of UTF-8. */
  readonly bytes: number;
  /** The tokens of each document, where they are few enough to be kept; null else. */
  readonly encoded: readonly Int32Array[] | null;
}

/** Tokens that are kept at once. */
const mostKept = 1 << 24;

/** Counts the tokens of texts. */
export async function tokenUsage(tokenizer: Tokenizer, texts: Texts): Promise<TokenUsage> {
  const counts = new Float64Array(tokenizer.vocabularySize);
  const encoder = new TextEncoder();
  let [tokens, documents, bytes] = [0, 0, 0];
  let encoded: Int32Array[] | null = [];
  for await (const text of texts.read()) {
    const ids = tokenizer.encode(text);
    for (const id of ids) counts[id] = (counts[id] ?? 0) + 1;
    tokens += ids.length;
    if (tokens > mostKept) encoded = null;
    encoded?.push(ids);
    documents++;
    bytes += encoder.encode(text).length;
  }
  return { counts, tokens, documents, bytes, encoded };
}
