import { EspalierError } from "../tensor/error.ts";

/** An object as it came from JSON. */
export type Json = Readonly<Record<string, unknown>>;

/** A tokenizer.json whose parts have the forms that the library trusts. */
export interface TokenizerJson {
  readonly json: Json;
  readonly vocabularySize: number;
  /** Text of the token for what the vocabulary lacks. */
  readonly unknown: string | null;
}

/** Larger than the vocabulary of any model; ids index arrays. */
const MOST_IDS = 1 << 22;
/** Characters of a tokenizer.json. */
const MOST_TEXT = 1 << 28;

const kinds = ["BPE", "WordPiece", "Unigram"] as const;

/** Reads and checks a tokenizer.json. Throws `format`. */
export function tokenizerJson(text: string, where: string): TokenizerJson {
  const wrong = (expected: string, got: string): EspalierError =>
    new EspalierError("format", where, `expected ${expected}, got ${got}.`, "Give the tokenizer.json of the model.");
  if (text.length > MOST_TEXT) throw wrong(`at most ${MOST_TEXT} characters`, `${text.length}`);
  const json = jsonOf(text);
  const model = field(json, "model");
  if (!isRecord(json) || !isRecord(model)) throw wrong('an object of JSON with a "model"', "something else");
  // Older files do not tell the kind; the library then knows it by what the model has.
  const kind = model["type"] ?? kinds[0];
  if (!kinds.some((known) => known === kind)) throw wrong(`a model of ${kinds.join(", ")}`, JSON.stringify(kind));
  let most = -1;
  const seen = new Set<number>();
  const note = (token: string, id: unknown): void => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= MOST_IDS) {
      throw wrong(`a whole number below ${MOST_IDS} as the id of ${JSON.stringify(token)}`, String(id));
    }
    seen.add(id);
    most = Math.max(most, id);
  };
  const vocabulary = model["vocab"];
  if (Array.isArray(vocabulary)) {
    // A unigram model lists tokens with their scores; the place is the id.
    if (vocabulary.length > MOST_IDS) throw wrong(`at most ${MOST_IDS} tokens`, `${vocabulary.length}`);
    for (const [id, entry] of vocabulary.entries()) {
      const fits = Array.isArray(entry) && typeof entry[0] === "string" && typeof entry[1] === "number";
      if (!fits) throw wrong(`a text and a score as token ${id}`, JSON.stringify(entry)?.slice(0, 40) ?? "nothing");
      note(entry[0], id);
    }
  } else if (isRecord(vocabulary)) {
    for (const [token, id] of Object.entries(vocabulary)) note(token, id);
    if (seen.size < Object.keys(vocabulary).length) throw wrong("an id of its own for every token", "one twice");
  } else throw wrong("a vocabulary in the model", typeof vocabulary);
  if (seen.size === 0) throw wrong("a vocabulary with tokens", "an empty one");
  const merges = model["merges"] ?? [];
  if (!Array.isArray(merges) || !merges.every(isMerge)) throw wrong("pairs of texts as merges", "something else");
  const added = json["added_tokens"] ?? [];
  if (!Array.isArray(added)) throw wrong("a list of added tokens", typeof added);
  for (const token of added) {
    const content = field(token, "content");
    if (typeof content !== "string" || content === "") throw wrong("a text in every added token", typeof content);
    note(content, field(token, "id"));
  }
  const entry = Array.isArray(vocabulary) ? vocabulary[Number(model["unk_id"] ?? -1)] : undefined;
  const unknown = Array.isArray(entry) ? entry[0] : model["unk_token"];
  return {
    json: { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, ...json, added_tokens: added },
    vocabularySize: most + 1,
    unknown: typeof unknown === "string" ? unknown : null,
  };
}

/** "a b", or ["a", "b"]. */
function isMerge(merge: unknown): boolean {
  if (typeof merge === "string") return merge.includes(" ");
  return Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === "string");
}

export function isRecord(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What an object holds under a name; undefined for anything else. */
export function field(value: unknown, name: string): unknown {
  return isRecord(value) ? value[name] : undefined;
}

/** What a text of JSON says; undefined where it is none. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
