import type { Json } from "../../formats/checkpoint/json.ts";

/** Fields with the id of a token, or a list of them: `eos_token_id`, `image_token_index`. */
const ofTokens = /(^|_)token_(id|ids|index)$/;
/** Fields of generation with ids, in lists of any depth or under the names of what they stand for. */
const ofLists: ReadonlySet<string> = new Set([
  "suppress_tokens",
  "begin_suppress_tokens",
  "bad_words_ids",
  "force_words_ids",
  "lang_to_id",
  "task_to_id",
]);
/** Lists of [place, id] and of [[id, ..], number]. */
const placed = "forced_decoder_ids";
const biased = "sequence_bias";

/**
 * A config with the ids of tokens in it replaced, in parts of it too. `of` is asked for each of them with the name of its
 * field; what is no id, such as null or −1, stays.
 */
export function withTokenIds(config: Json, of: (id: number, field: string) => number): Json {
  const anyDepth = (value: unknown, name: string): unknown => {
    if (typeof value === "number") return Number.isInteger(value) && value >= 0 ? of(value, name) : value;
    if (Array.isArray(value)) return value.map((one) => anyDepth(one, name));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, anyDepth(one, name)]));
  };
  const visit = (name: string, value: unknown): unknown => {
    if (ofTokens.test(name) || ofLists.has(name)) return anyDepth(value, name);
    if (Array.isArray(value)) {
      if (name === placed) return value.map((one) => (Array.isArray(one) ? [one[0], anyDepth(one[1], name)] : one));
      if (name === biased) return value.map((one) => (Array.isArray(one) ? [anyDepth(one[0], name), one[1]] : one));
      return value;
    }
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, visit(key, one)]));
  };
  return Object.fromEntries(Object.entries(config).map(([name, value]) => [name, visit(name, value)]));
}

/** The ids of tokens in a config, each with the field that names it. */
export function tokenIdsIn(config: Json): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  withTokenIds(config, (id, field) => {
    found.set(id, field);
    return id;
  });
  return found;
}
