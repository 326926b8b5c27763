import { type Formed, formedBy } from "./formed.ts";
import { listOf, recordOf, settingOf, type Vocabulary } from "./vocabulary.ts";

/** Which tokens cannot go. */
export interface Needed {
  /**
   * In any case: added tokens, the one for what is unknown, those around texts and in batches, and single characters or
   * bytes, so that any text that had tokens has some.
   */
  readonly always: ReadonlySet<number>;
  /** Together with a token: what is formed on the way to it. Ids, the token's own too. */
  with(id: number): readonly number[];
  /** Characters that no token holds alone; of texts with them some may have no tokens once others are gone. */
  readonly apart: readonly string[];
}

/** What a smaller vocabulary has to keep. */
export function neededTokens(vocabulary: Vocabulary): Needed {
  const { ids, added, tokens, unknown } = vocabulary;
  const formed = formedBy(vocabulary);
  const always = new Set([...added, ...(unknown === null ? [] : [unknown]), ...mentioned(vocabulary)]);
  const { symbols, apart } = symbolsOf(vocabulary);
  for (const token of symbols) {
    const id = ids.get(token);
    if (id !== undefined) always.add(id);
  }
  const lowest = lowestOf(vocabulary);
  if (lowest !== null) always.add(lowest);
  const all = (id: number): readonly number[] => withFormed(vocabulary, formed, id);
  for (const id of [...always]) if (tokens.has(id)) for (const other of all(id)) always.add(other);
  return { always, with: all, apart };
}

function withFormed({ kind, ids, tokens, added }: Vocabulary, formed: Formed, id: number): readonly number[] {
  const token = tokens.get(id);
  if (token === undefined || kind !== "BPE" || (added.has(id) && !ids.has(token))) return [id];
  const made = formed(token);
  // Merges do not lead to every token: some are found only as a whole.
  if (made.at(-1) !== token) return [id];
  return made.flatMap((one) => ids.get(one) ?? []);
}

/** Ids that other parts of the file name: what a text is put between, what a batch is filled with. */
function mentioned({ json }: Vocabulary): readonly number[] {
  const found: unknown[] = [recordOf(json["padding"])["pad_id"]];
  const visit = (processor: unknown): void => {
    const { processors, special_tokens: special, sep, cls } = recordOf(processor);
    for (const one of listOf(processors)) visit(one);
    for (const one of Object.values(recordOf(special))) found.push(...listOf(recordOf(one)["ids"]));
    found.push(listOf(sep)[1], listOf(cls)[1]);
  };
  visit(json["post_processor"]);
  return found.filter((id) => typeof id === "number");
}

/** The token with the lowest score of a unigram model: what is unknown costs more than it by a fixed amount. */
function lowestOf({ kind, scores }: Vocabulary): number | null {
  if (kind !== "Unigram" || scores.length === 0) return null;
  return scores.reduce((lowest, score, id) => (score < (scores[lowest] ?? 0) ? id : lowest), 0);
}

/** The least that texts can be cut into. */
function symbolsOf(vocabulary: Vocabulary): { readonly symbols: Iterable<string>; readonly apart: readonly string[] } {
  const { kind, ids, added, model } = vocabulary;
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  if (kind === "BPE" && model["byte_fallback"] === true && bytes.every((token) => ids.has(token))) {
    // Characters that the file itself writes are read back by their tokens only.
    return { symbols: [...bytes, ...written(vocabulary)], apart: [] };
  }
  const prefix = kind === "WordPiece" ? settingOf(model, "continuing_subword_prefix") : "";
  const suffix = kind === "BPE" ? settingOf(model, "end_of_word_suffix") : "";
  const symbols = new Set<string>();
  const holding = new Map<string, string[]>();
  for (const [token, id] of ids) {
    if (added.has(id)) continue;
    const inside = prefix !== "" && token.startsWith(prefix) && token !== prefix;
    const ends = suffix !== "" && token.endsWith(suffix) && token !== suffix;
    const characters = Array.from(token.slice(inside ? prefix.length : 0, ends ? -suffix.length : undefined));
    const parts = characters.map((character, i) => {
      const marked = ends && i === characters.length - 1 ? `${character}${suffix}` : character;
      return inside || i > 0 ? `${prefix}${marked}` : marked;
    });
    if (parts.length === 1) symbols.add(token);
    for (const part of new Set(parts)) if (!ids.has(part)) push(holding, part, token);
  }
  // A character without a token of its own needs all that it occurs in; merges would never have begun with it.
  const stuck = kind === "BPE" ? new Map<string, string[]>() : holding;
  for (const token of [...stuck.values()].flat()) symbols.add(token);
  return { symbols, apart: [...stuck.keys()] };
}

function push(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

/** Characters in what a file puts in the place of others, such as "▁" for a space. */
function written({ json }: Vocabulary): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (value: unknown): void => {
    if (typeof value === "string") for (const character of value) found.add(character);
    else if (Array.isArray(value)) value.forEach(visit);
    else for (const [name, part] of Object.entries(recordOf(value))) if (name !== "type") visit(part);
  };
  for (const part of ["normalizer", "pre_tokenizer", "decoder"]) visit(json[part]);
  return found;
}
