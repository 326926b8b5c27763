import { EspalierError } from "../../tensor/error.ts";
import { type Job, step } from "../../tensor/progress.ts";
import { openTokenizer, type TokenizerFiles } from "../open-tokenizer.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { type Json, tokenizerJson } from "../tokenizer-json.ts";
import { type ChosenTokens, chooseTokens, type TokenBudget } from "./choose-tokens.ts";
import { type Formed, formedBy } from "./formed.ts";
import { type Needed, neededTokens } from "./needed.ts";
import { renumbered } from "./renumbered.ts";
import { type Texts, type TokenUsage, tokenUsage } from "./usage.ts";
import { settingOf, type Vocabulary, vocabularyOf } from "./vocabulary.ts";

/** A smaller tokenizer for some texts, and what was measured of it on all of them. */
export interface FittedTokenizer {
  /** tokenizer.json */
  readonly json: Json;
  readonly tokenizer: Tokenizer;
  /** Rows of the embedding that stay, in their order: the new ids are places in this list. */
  readonly chosen: ChosenTokens;
  /** Tokens of the texts with the original tokenizer, and with this one. */
  readonly before: TokenUsage;
  readonly after: { readonly tokens: number };
  /** Documents that are other tokens now, and of them those that read otherwise when they are decoded. */
  readonly recut: number;
  readonly changed: number;
  /** Tokens that had to stay since texts would have been cut otherwise. */
  readonly repaired: number;
  /** Characters that no token of the original holds alone. */
  readonly apart: readonly string[];
}

/** Tries until texts are cut as before; each keeps more tokens than the one before. */
const mostTries = 16;

/**
 * A tokenizer with only the tokens that texts use, or fewer. Without a budget of tokens every document is the same tokens as
 * before under their new ids, which is verified on all of them: where one is cut otherwise, what the original formed there
 * stays too, until nothing differs. With a budget, rare tokens go, and their text is cut into smaller ones. Throws `request`
 * where fewer are asked for than cannot go.
 */
export async function fitTokenizer(
  files: TokenizerFiles,
  texts: Texts,
  budget: TokenBudget,
  job: Job = {},
): Promise<FittedTokenizer> {
  const vocabulary = vocabularyOf(tokenizerJson(files.tokenizer, files.name));
  const original = await openTokenizer(files);
  const needed = neededTokens(vocabulary);
  const formed = formedBy(vocabulary);
  step(job, "count tokens", 0, 1);
  const before = await tokenUsage(original, texts);
  const keep = new Set(budget.keep);
  const asked = keep.size;
  for (let round = 0; round < mostTries; round++) {
    const chosen = chooseTokens(vocabulary, needed, before.counts, { ...budget, keep }, files.name);
    const places = new Map(chosen.kept.map((id, place) => [id, place]));
    const json = renumbered(vocabulary, places, files.name);
    const { config, name } = files;
    const tokenizer = await openTokenizer({ name, config, tokenizer: JSON.stringify(json) });
    step(job, "verify text", round, round + 1);
    const again = { encoded: before.encoded, kept: chosen.kept, texts };
    const compared = await compare(original, tokenizer, again, (old, now) =>
      repairOf({ vocabulary, needed, formed }, old, now),
    );
    const { after, recut, changed, missing } = compared;
    if (recut === 0 || budget.count !== undefined) {
      const { apart } = needed;
      return {
        json,
        tokenizer,
        chosen,
        before,
        after,
        recut,
        changed,
        apart,
        repaired: keep.size - asked,
      };
    }
    const held = keep.size;
    for (const id of missing) if (!places.has(id)) keep.add(id);
    if (keep.size === held) break;
  }
  const message = "expected texts to be the same tokens as before, got documents that are cut otherwise.";
  throw new EspalierError("data", files.name, message, "Its tokens do not follow from its own rules: leave it whole.");
}

interface Compared {
  readonly after: { readonly tokens: number };
  readonly recut: number;
  readonly changed: number;
  /** Old ids without which documents are cut otherwise. */
  readonly missing: ReadonlySet<number>;
}

interface Again {
  readonly texts: Texts;
  /** What the original made of each, where that was kept. */
  readonly encoded: TokenUsage["encoded"];
  /** Old ids of the new tokens. */
  readonly kept: readonly number[];
}

/** Encodes every document with both tokenizers. */
async function compare(
  original: Tokenizer,
  smaller: Tokenizer,
  { texts, encoded, kept }: Again,
  repair: (old: Int32Array, now: Int32Array) => Iterable<number>,
): Promise<Compared> {
  const missing = new Set<number>();
  let [tokens, recut, changed, number] = [0, 0, 0, 0];
  for await (const text of texts.read()) {
    const old = encoded?.[number++] ?? original.encode(text);
    const own = smaller.encode(text);
    tokens += own.length;
    const now = own.map((id) => kept[id] ?? -1);
    if (old.length === now.length && old.every((id, i) => id === now[i])) continue;
    recut++;
    if (original.decode(old) !== smaller.decode(own)) changed++;
    for (const id of repair(old, now)) missing.add(id);
  }
  return { after: { tokens }, recut, changed, missing };
}

interface Rules {
  readonly vocabulary: Vocabulary;
  readonly needed: Needed;
  readonly formed: Formed;
}

/**
 * What the original formed where a document is other tokens now: on the way to its tokens, and of words that are now known and
 * were not, since what it found in front of the rest is gone.
 */
function repairOf({ vocabulary, needed, formed }: Rules, old: Int32Array, now: Int32Array): ReadonlySet<number> {
  let [start, end] = [0, 0];
  while (start < Math.min(old.length, now.length) && old[start] === now[start]) start++;
  const rest = Math.min(old.length, now.length) - start;
  while (end < rest && old[old.length - 1 - end] === now[now.length - 1 - end]) end++;
  const found = new Set<number>();
  for (const id of old.subarray(start, old.length - end)) for (const one of needed.with(id)) found.add(one);
  const { tokens, ids, kind, model } = vocabulary;
  if (kind !== "WordPiece") return found;
  const prefix = settingOf(model, "continuing_subword_prefix");
  const isInside = (place: number): boolean => prefix !== "" && (tokens.get(now[place] ?? -1) ?? "").startsWith(prefix);
  while (start > 0 && isInside(start)) start--;
  while (end > 0 && isInside(now.length - end)) end--;
  const words: string[] = [];
  for (let place = start; place < now.length - end; place++) {
    const token = tokens.get(now[place] ?? -1) ?? "";
    if (isInside(place) && words.length > 0) words[words.length - 1] += token.slice(prefix.length);
    else words.push(token);
  }
  for (const word of words) {
    for (const token of formed(word)) {
      const id = ids.get(token);
      if (id !== undefined) found.add(id);
    }
  }
  return found;
}
