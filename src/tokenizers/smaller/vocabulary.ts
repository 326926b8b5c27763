import { field, isRecord, type Json, type TokenizerJson } from "../tokenizer-json.ts";

/** A way of cutting words into tokens. */
type Kind = "BPE" | "WordPiece" | "Unigram";

/** A tokenizer.json by its tokens. */
export interface Vocabulary {
  readonly kind: Kind;
  readonly json: Json;
  readonly model: Json;
  /** Ids of the tokens that words are cut into, by their texts. */
  readonly ids: ReadonlyMap<string, number>;
  /** Texts of all tokens by their ids, added ones too. */
  readonly tokens: ReadonlyMap<number, string>;
  /** Ids of the tokens that were added to those: special ones, and others that are found before a text is cut. */
  readonly added: ReadonlySet<number>;
  /** Pairs of BPE that become one token, the first first. */
  readonly merges: readonly (readonly [string, string])[];
  /** Score of each token of a unigram model, by its id; empty for others. */
  readonly scores: readonly number[];
  /** Id of the token for what the vocabulary lacks. */
  readonly unknown: number | null;
}

/** The tokens of a tokenizer.json that was read. */
export function vocabularyOf({ json, unknown }: TokenizerJson): Vocabulary {
  const model = recordOf(json["model"]);
  const vocab = model["vocab"];
  const ids = new Map<string, number>();
  const scores: number[] = [];
  if (Array.isArray(vocab)) {
    for (const [id, [token, score]] of vocab.entries()) {
      ids.set(token, id);
      scores.push(score);
    }
  } else for (const [token, id] of Object.entries(recordOf(vocab))) ids.set(token, Number(id));
  const tokens = new Map([...ids].map(([token, id]) => [id, token]));
  const added = new Set<number>();
  for (const token of listOf(json["added_tokens"])) {
    const [id, content] = [Number(field(token, "id")), String(field(token, "content"))];
    added.add(id);
    tokens.set(id, content);
  }
  const merges = listOf(model["merges"]).map(pairOf);
  return {
    ...{ kind: kindOf(model), json, model, ids, tokens, added, merges, scores },
    unknown: unknown === null ? null : (ids.get(unknown) ?? addedId(json, unknown)),
  };
}

/** What kind a model is; older files do not say it. */
function kindOf(model: Json): Kind {
  const type = model["type"];
  if (type === "BPE" || type === "WordPiece" || type === "Unigram") return type;
  if (Array.isArray(model["vocab"])) return "Unigram";
  return Array.isArray(model["merges"]) ? "BPE" : "WordPiece";
}

function addedId(json: Json, content: string): number | null {
  const found = listOf(json["added_tokens"]).find((token) => field(token, "content") === content);
  return found === undefined ? null : Number(field(found, "id"));
}

/** True where a tokenizer.json cuts texts into bytes, which BPE then joins. */
export function isByteLevel(json: Json): boolean {
  const mentions = (value: unknown): boolean =>
    Array.isArray(value)
      ? value.some(mentions)
      : isRecord(value) && (value["type"] === "ByteLevel" || Object.values(value).some(mentions));
  return kindOf(recordOf(json["model"])) === "BPE" && mentions([json["pre_tokenizer"], json["decoder"]]);
}

/** A merge as its two tokens: "a b", or ["a", "b"]. */
export function pairOf(merge: unknown): readonly [string, string] {
  const [left = "", right = ""]: unknown[] = Array.isArray(merge) ? merge : String(merge).split(" ", 2);
  return [String(left), String(right)];
}

export function recordOf(value: unknown): Json {
  return isRecord(value) ? value : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A text of a model's settings; empty where it is none. */
export function settingOf(model: Json, name: string): string {
  const value = model[name];
  return typeof value === "string" ? value : "";
}
