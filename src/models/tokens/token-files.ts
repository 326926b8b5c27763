import { fractionsIn, type Json, jsonText } from "../../formats/checkpoint/json.ts";
import { joinedByScores, readSentencePieces, withPieces } from "../../formats/sentencepiece/sentence-pieces.ts";
import { memorySource } from "../../formats/source/source.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { type Places, renumbered } from "../../tokenizers/smaller/renumbered.ts";
import { recordOf, type Vocabulary } from "../../tokenizers/smaller/vocabulary.ts";
import { jsonOf } from "../../tokenizers/tokenizer-json.ts";
import { withTokenIds } from "./ids-in-config.ts";

/** Files beside the tensors of a checkpoint with fewer tokens. */
export interface TokenFiles {
  readonly files: ReadonlyMap<string, ByteSource>;
  /** Files that say tokens of the original and could not be written anew: each is left out, with the reason. */
  readonly left: ReadonlyMap<string, string>;
}

/** What stays. */
export interface TokensLeft {
  readonly vocabulary: Vocabulary;
  readonly places: Places;
  /** New ids of tokens in configs. */
  readonly place: (id: number, field: string) => number;
}

type Text = string | Uint8Array;
/** Writes a file anew; null where it does not say the same tokens as the tokenizer.json. */
type Rewrite = (text: string, left: TokensLeft, where: string) => Text | null;

const lines = (text: string): string[] => text.replace(/\r?\n$/, "").split(/\r?\n/);
/** JSON with the spaces at the beginning of lines that the original has, or none, and with its fractions. */
const likeBefore = (json: Json, original: string): string =>
  jsonText(json, fractionsIn(original), /^[{[]\r?\n([ \t]+)/.exec(original)?.[1] ?? 0);

const rewrites: ReadonlyMap<string, Rewrite> = new Map<string, Rewrite>([
  ["tokenizer.json", (text, { vocabulary, places }, where) => likeBefore(renumbered(vocabulary, places, where), text)],
  ["tokenizer_config.json", tokenizerConfig],
  ["generation_config.json", (text, { place }) => likeBefore(withTokenIds(recordOf(jsonOf(text)), place), text)],
  ["added_tokens.json", idsByToken],
  ["vocab.json", idsByToken],
  ["vocab.txt", (text, { vocabulary, places }) => tokenLines(lines(text), vocabulary, places)],
  ["merges.txt", mergeLines],
]);

/** Names of files that hold ids or tokens in forms that are not written, or weights in forms that are not read. */
const foreign =
  /^(tokenizer|vocab|merges|spiece|sentencepiece|tiktoken|tekken|source|target|encoder|dict)[._]|\.(model|spm|tiktoken|bpe|vocab|bin|pth?|ckpt|h5|msgpack|gguf|onnx)$/i;
const pieceFiles = /\.(model|spm)$/i;
const withoutIds: ReadonlySet<string> = new Set(["special_tokens_map.json"]);

/** True where a file holds ids or tokens, so that it is another one once tokens are gone. */
export function isOfTokens(file: string): boolean {
  return (rewrites.has(file) || foreign.test(file)) && !withoutIds.has(file);
}

/** The files beside the tensors with only the tokens that stay. */
export async function withTokensLeft(files: ReadonlyMap<string, ByteSource>, tokens: TokensLeft): Promise<TokenFiles> {
  const kept = new Map<string, ByteSource>();
  const left = new Map<string, string>();
  for (const [file, source] of files) {
    const rewrite = rewrites.get(file);
    if (rewrite === undefined && !isOfTokens(file)) {
      kept.set(file, source);
      continue;
    }
    const bytes = await source.read(0, source.size);
    const made = rewrite === undefined ? pieces(file, bytes, tokens) : rewrite(textOf(bytes), tokens, source.name);
    if (typeof made === "string") kept.set(file, memorySource(source.name, new TextEncoder().encode(made)));
    else if (made instanceof Uint8Array) kept.set(file, memorySource(source.name, made));
    else left.set(file, made?.because ?? "It does not say the same tokens as tokenizer.json.");
  }
  return { files: kept, left };
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Added tokens stand under their ids. */
function tokenizerConfig(text: string, { places, place }: TokensLeft): string {
  const config = withTokenIds(recordOf(jsonOf(text)), place);
  const added = config["added_tokens_decoder"];
  if (added === undefined) return likeBefore(config, text);
  const moved = Object.entries(recordOf(added)).flatMap(([id, token]) => {
    const to = places.get(Number(id));
    return to === undefined ? [] : [[String(to), token] as const];
  });
  return likeBefore({ ...config, added_tokens_decoder: Object.fromEntries(moved) }, text);
}

/** An object of tokens with their ids. */
function idsByToken(text: string, { vocabulary, places }: TokensLeft): string | null {
  const entries = Object.entries(recordOf(jsonOf(text)));
  if (entries.some(([token, id]) => vocabulary.tokens.get(Number(id)) !== token)) return null;
  const moved = entries.flatMap(([token, id]) => {
    const to = places.get(Number(id));
    return to === undefined ? [] : [[token, to] as const];
  });
  return likeBefore(Object.fromEntries(moved.sort(([, a], [, b]) => a - b)), text);
}

/** One token on each line, whose number is its id. */
function tokenLines(tokens: readonly string[], vocabulary: Vocabulary, places: Places): string | null {
  if (tokens.some((token, id) => vocabulary.tokens.get(id) !== token)) return null;
  const order = inOrder(tokens.length, places);
  return order === null ? null : `${order.map((id) => tokens[id]).join("\n")}\n`;
}

/** Merges as lines, behind one that says the version. */
function mergeLines(text: string, { vocabulary, places }: TokensLeft): string | null {
  const [first = "", ...rest] = lines(text);
  const stays = (token: string): boolean => {
    const id = vocabulary.ids.get(token);
    return id === undefined || places.has(id);
  };
  const all = first.startsWith("#version") ? rest : [first, ...rest];
  const ranked = all.filter((line) => line !== "");
  const same = vocabulary.merges.length === ranked.length;
  if (!same || vocabulary.merges.some(([left, right], i) => ranked[i] !== `${left} ${right}`)) return null;
  const kept = ranked.filter((line) => {
    const [left = "", right = ""] = line.split(" ");
    return stays(left) && stays(right) && stays(`${left}${right}`);
  });
  return `${[...(all === rest ? [first] : []), ...kept].join("\n")}\n`;
}

/** A SentencePiece model, where its tokens are those of the tokenizer.json, and what it forms on the way to them stays. */
function pieces(
  file: string,
  bytes: Uint8Array,
  { vocabulary, places }: TokensLeft,
): Uint8Array | { readonly because: string } {
  if (!pieceFiles.test(file)) return { because: "Files of this kind are not written." };
  try {
    const model = readSentencePieces(file, bytes);
    if (model.pieces.some(({ text }, id) => vocabulary.tokens.get(id) !== text))
      return { because: "Its tokens have other ids than those of tokenizer.json." };
    const order = inOrder(model.pieces.length, places);
    if (order === null) return { because: "Its tokens would be in another order." };
    const joined = model.kind === 2 ? joinedByScores(model.pieces) : (token: string) => [token];
    const ids = new Map(model.pieces.map(({ text }, id) => [text, id]));
    const lost = order.find((id) => {
      const token = model.pieces[id]?.text ?? "";
      const made = joined(token);
      return made.at(-1) === token && made.some((one) => ids.has(one) && !places.has(ids.get(one) ?? -1));
    });
    if (lost !== undefined) return { because: `It would not form "${model.pieces[lost]?.text}" any more.` };
    return withPieces(model, order) ?? { because: "Its settings name a token that is gone." };
  } catch (cause) {
    if (!(cause instanceof EspalierError) || cause.code !== "format") throw cause;
    return { because: "It is no SentencePiece model." };
  }
}

/** The ids below `count` that stay, where they are numbered in their order from 0; null else. */
function inOrder(count: number, places: Places): readonly number[] | null {
  const order = Array.from({ length: count }, (_, id) => id).filter((id) => places.has(id));
  return order.every((id, place) => places.get(id) === place) ? order : null;
}

/** Ids of tokens that files beside the config name, each with the file. */
export async function idsInFiles(
  files: ReadonlyMap<string, ByteSource>,
  idsIn: (config: Json) => Iterable<number>,
): Promise<ReadonlyMap<number, string>> {
  const found = new Map<number, string>();
  const jsonAt = async (file: string): Promise<Json> => {
    const source = files.get(file);
    return source === undefined ? {} : recordOf(jsonOf(textOf(await source.read(0, source.size))));
  };
  for (const file of ["generation_config.json", "tokenizer_config.json"]) {
    const config = await jsonAt(file);
    for (const id of idsIn(config)) found.set(id, file);
    for (const id of Object.keys(recordOf(config["added_tokens_decoder"]))) found.set(Number(id), file);
  }
  for (const id of Object.values(await jsonAt("added_tokens.json"))) found.set(Number(id), "added_tokens.json");
  return found;
}
