import { EspalierError } from "../../tensor/error.ts";
import { isRecord, type Json } from "../tokenizer-json.ts";
import { listOf, pairOf, recordOf, type Vocabulary } from "./vocabulary.ts";

/** New ids by the old ones, of what stays. */
export type Places = ReadonlyMap<number, number>;

/**
 * The tokenizer.json with only the tokens that have a place, under their new ids; merges go with any of the three tokens
 * that they are about. Throws `request` where that is no tokenizer any more: a token is gone that the file names elsewhere, or
 * the list of a unigram model has holes.
 */
export function renumbered({ kind, json, model, ids }: Vocabulary, places: Places, where: string): Json {
  const stays = (token: string): boolean => {
    const id = ids.get(token);
    return id === undefined || places.has(id);
  };
  const place = (id: unknown, what: string): number => {
    const found = typeof id === "number" ? places.get(id) : undefined;
    if (found !== undefined) return found;
    throw new EspalierError("request", where, `expected to keep the token of ${what}, got none of id ${String(id)}.`);
  };
  const vocab = kind === "Unigram" ? listed(listOf(model["vocab"]), places, where) : named(ids, places);
  const merges = model["merges"];
  const kept = (merge: unknown): boolean => {
    const [left, right] = pairOf(merge);
    return stays(left) && stays(right) && stays(`${left}${right}`);
  };
  const unknown = model["unk_id"];
  const padding = json["padding"];
  return {
    ...json,
    padding: isRecord(padding) ? { ...padding, pad_id: place(padding["pad_id"], "padding") } : padding,
    added_tokens: listOf(json["added_tokens"])
      .map((token) => ({ ...recordOf(token), id: place(recordOf(token)["id"], "an added token") }))
      .sort((a, b) => a.id - b.id),
    post_processor: processorOf(json["post_processor"], place),
    model: {
      ...model,
      ...(typeof unknown === "number" ? { unk_id: place(unknown, "what is unknown") } : {}),
      vocab,
      ...(Array.isArray(merges) ? { merges: merges.filter(kept) } : {}),
    },
  };
}

function named(ids: Vocabulary["ids"], places: Places): Json {
  const left = [...ids].flatMap(([token, id]) => {
    const place = places.get(id);
    return place === undefined ? [] : [[token, place] as const];
  });
  return Object.fromEntries(left.sort(([, a], [, b]) => a - b));
}

/** Tokens with their scores, whose places are their ids. */
function listed(vocab: readonly unknown[], places: Places, where: string): readonly unknown[] {
  const list: unknown[] = [];
  let count = 0;
  for (const [id, entry] of vocab.entries()) {
    const place = places.get(id);
    if (place === undefined) continue;
    list[place] = entry;
    count++;
  }
  if (list.length === count) return list;
  throw new EspalierError("request", where, "expected the tokens of a unigram model in front of others, got a hole.");
}

/** What stands around a text, with new ids. */
function processorOf(processor: unknown, place: (id: unknown, what: string) => number): unknown {
  if (!isRecord(processor)) return processor;
  const { processors, special_tokens: special, sep, cls } = processor;
  const pair = (given: unknown): unknown =>
    Array.isArray(given) ? [given[0], place(given[1], `"${String(given[0])}"`)] : given;
  const specials = Object.entries(recordOf(special)).map(([name, one]) => [
    name,
    { ...recordOf(one), ids: listOf(recordOf(one)["ids"]).map((id) => place(id, `"${name}"`)) },
  ]);
  return {
    ...processor,
    ...(Array.isArray(processors) ? { processors: processors.map((one) => processorOf(one, place)) } : {}),
    ...(isRecord(special) ? { special_tokens: Object.fromEntries(specials) } : {}),
    ...(sep === undefined ? {} : { sep: pair(sep) }),
    ...(cls === undefined ? {} : { cls: pair(cls) }),
  };
}
