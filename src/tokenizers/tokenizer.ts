import { EspalierError } from "../tensor/error.ts";
import type { Conversation } from "./chat.ts";

/** Ids with a meaning of their own; null or none where the tokenizer does not have them. */
export interface SpecialIds {
  /** Begins a text. */
  readonly begin: number | null;
  /** Each of these ends a text. */
  readonly end: readonly number[];
  /** Fills a batch. */
  readonly pad: number | null;
  readonly unknown: number | null;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** File or folder, for messages and reports. */
  readonly name: string;
  /** One more than the largest id: as many rows must an embedding have. */
  readonly vocabularySize: number;
  readonly special: SpecialIds;
  /** The ids of a text; with `special`, also those that the tokenizer puts around it (default: without). */
  encode(text: string, options?: { readonly special?: boolean }): Int32Array;
  /** The text of ids; special tokens are left out unless `special`. */
  decode(ids: ArrayLike<number>, options?: { readonly special?: boolean }): string;
  /** The token of an id as it stands in the vocabulary; null where there is none. */
  token(id: number): string | null;
  /** Writes conversations as text, the way the model was taught; null where the tokenizer has no template. */
  readonly chat: Conversation | null;
}

/**
 * Throws `data` where a tokenizer gives ids that an embedding of so many rows does not have. The reverse is allowed:
 * embeddings are often padded to a round number.
 */
export function checkVocabulary(tokenizer: Tokenizer, rows: number, where: string): void {
  const { vocabularySize, name } = tokenizer;
  if (vocabularySize <= rows) return;
  const message = `expected an embedding of at least ${vocabularySize} rows for ${name}, got ${rows}.`;
  throw new EspalierError("data", where, message, "Give the tokenizer that belongs to the model.");
}
