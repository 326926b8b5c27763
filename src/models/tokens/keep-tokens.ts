import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import type { TokenizerFiles } from "../../tokenizers/open-tokenizer.ts";
import { neededTokens } from "../../tokenizers/smaller/needed.ts";
import { type Vocabulary, vocabularyOf } from "../../tokenizers/smaller/vocabulary.ts";
import { tokenizerJson } from "../../tokenizers/tokenizer-json.ts";
import type { CheckpointModel } from "../checkpoint/checkpoint-model.ts";
import { sliceEntries, tokenField } from "../checkpoint/entries.ts";
import { tokenIdsIn, withTokenIds } from "./ids-in-config.ts";
import { idsInFiles, isOfTokens, withTokensLeft } from "./token-files.ts";

/** A checkpoint with fewer tokens. */
export interface KeptTokens {
  readonly checkpoint: Checkpoint;
  /** Files of the original that say its tokens and could not be written anew, each with the reason why it is left out. */
  readonly left: ReadonlyMap<string, string>;
  /** Fields of configs with ids that no row of the embedding has, which are left as they are. */
  readonly beyond: readonly string[];
}

/** Rows of the embedding that have to stay, and what has to be said of them. */
interface HeldTokens {
  readonly rows: ReadonlySet<number>;
  readonly beyond: readonly string[];
}

/** Texts of the files that make the tokenizer of a checkpoint; null where it has no tokenizer.json. */
export async function tokenizerFilesOf({ name, config, files }: Checkpoint): Promise<TokenizerFiles | null> {
  const text = async (file: string): Promise<string | undefined> => {
    const source: ByteSource | undefined = files.get(file);
    return source === undefined ? undefined : new TextDecoder().decode(await source.read(0, source.size));
  };
  const tokenizer = await text("tokenizer.json");
  if (tokenizer === undefined) return null;
  const generation = await text("generation_config.json");
  return {
    ...{ name, tokenizer, config: await text("tokenizer_config.json"), template: await text("chat_template.jinja") },
    models: [...(generation === undefined ? [] : [generation]), JSON.stringify(config)],
  };
}

/**
 * Tokens that configs name, which stay whoever uses them, and those in front of one whose number means something to the
 * architecture.
 */
export async function heldTokens({ checkpoint, outline }: CheckpointModel): Promise<HeldTokens> {
  const named = new Map([
    ...(await idsInFiles(checkpoint.files, (config) => tokenIdsIn(config).keys())),
    ...tokenIdsIn(checkpoint.config),
  ]);
  const rows = new Set<number>();
  const beyond: string[] = [];
  for (const [id, field] of named) {
    if (Number.isInteger(id) && id >= 0 && id < outline.vocabulary) rows.add(id);
    else beyond.push(`${field} = ${id}`);
  }
  for (const id of Object.values(outline.placedTokens ?? {})) for (let row = 0; row <= id; row++) rows.add(row);
  return { rows, beyond };
}

/**
 * The checkpoint with only some tokens, in the order given: rows of its embedding and its head, its tokenizer, and every id
 * in its configs, so that text goes in and comes out as before. Rows behind the last token may stay or go. Throws `request`
 * where a token is missing without which that would not hold, or where there is a tokenizer in another form only.
 */
export async function keepTokens(model: CheckpointModel, kept: readonly number[]): Promise<KeptTokens> {
  const { checkpoint, name, outline } = model;
  const files = await tokenizerFilesOf(checkpoint);
  const places = new Map(kept.map((id, place) => [id, place]));
  const held = await heldTokens(model);
  const missing = [...held.rows].filter((id) => !places.has(id));
  const vocabulary = files === null ? null : vocabularyOf(tokenizerJson(files.tokenizer, name));
  if (vocabulary !== null) missing.push(...missingTokens(vocabulary, outline.vocabulary, places, name));
  else refuseOtherTokenizers(checkpoint);
  const [first] = missing;
  if (first !== undefined) {
    const token = vocabulary?.tokens.get(first) ?? "";
    const message = `expected to keep token ${first}${token === "" ? "" : ` ${JSON.stringify(token)}`}, without which text or configs would say something else, got ${missing.length} such tokens that go.`;
    throw new EspalierError("request", name, message, "fitTokens chooses tokens so that none is missing.");
  }
  for (const [field, id] of Object.entries(outline.placedTokens ?? {})) {
    if (places.get(id) === id) continue;
    const message = `expected token ${id} to keep its number, since ${field} counts positions from it, got ${places.get(id)}.`;
    throw new EspalierError("request", name, message, "Keep all tokens in front of it.");
  }
  const place = (id: number): number => places.get(id) ?? id;
  const sliced = sliceEntries(model, tokenField, kept);
  const config = withTokenIds(sliced.config, place);
  if (vocabulary === null) return { checkpoint: { ...sliced, config }, left: new Map(), beyond: held.beyond };
  const beside = await withTokensLeft(checkpoint.files, { vocabulary, places, place });
  return { checkpoint: { ...sliced, config, files: beside.files }, left: beside.left, beyond: held.beyond };
}

/** Needed tokens that do not stay. Throws `data` where the tokenizer has more tokens than the embedding has rows. */
function missingTokens(
  vocabulary: Vocabulary,
  rows: number,
  places: ReadonlyMap<number, number>,
  name: string,
): readonly number[] {
  const last = Math.max(...vocabulary.tokens.keys());
  if (last >= rows) {
    const message = `expected an embedding of at least ${last + 1} rows for its tokenizer, got ${rows}.`;
    throw new EspalierError("data", name, message, "Give the tokenizer that belongs to the model.");
  }
  const needed = neededTokens(vocabulary);
  const all = new Set(needed.always);
  for (const id of places.keys()) for (const one of needed.with(id)) all.add(one);
  return [...all].filter((id) => !places.has(id));
}

/** Throws `request` where tokens are said in forms that cannot be read. */
function refuseOtherTokenizers({ name, files }: Checkpoint): void {
  const other = [...files.keys()].find((file) => isOfTokens(file) && !/config\.json$/.test(file));
  if (other === undefined) return;
  const hint = "Save the tokenizer in its fast form, which writes a tokenizer.json.";
  throw new EspalierError("request", `${name}/${other}`, "expected a tokenizer.json beside it, got none.", hint);
}
