import { EspalierError } from "../tensor/error.ts";
import { conversation } from "./chat.ts";
import type { SpecialIds, Tokenizer } from "./tokenizer.ts";
import { field, isRecord, type Json, jsonOf, type TokenizerJson, tokenizerJson } from "./tokenizer-json.ts";
import { WordCache } from "./word-cache.ts";

/** Texts of the files that make a tokenizer, by what they hold. Only the first has to be there. */
export interface TokenizerFiles {
  /** For messages and reports. */
  readonly name: string;
  /** tokenizer.json */
  readonly tokenizer: string;
  /** tokenizer_config.json */
  readonly config?: string | undefined;
  /** chat_template.jinja, before one inside the config. */
  readonly template?: string | undefined;
  /** generation_config.json and config.json of the model, which know special ids too; earlier ones first. */
  readonly models?: readonly string[] | undefined;
}

/**
 * A tokenizer from the files that checkpoints carry. The library that encodes is loaded here, so that nobody else pays
 * for it. Bytes are hostile: what the library would trust is checked first. Throws `format`.
 */
export async function openTokenizer(files: TokenizerFiles): Promise<Tokenizer> {
  const { name } = files;
  const parsed = tokenizerJson(files.tokenizer, name);
  const config = configOf(files.config, `${name}, tokenizer_config.json`);
  const { Tokenizer: Library } = await import("@huggingface/tokenizers");
  let library: InstanceType<typeof Library>;
  try {
    library = new Library(parsed.json, config);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError("format", name, `expected a tokenizer of a known kind, got: ${why}.`, "", { cause });
  }
  if (library.model !== null && "cache" in library.model) Object.assign(library.model, { cache: new WordCache() });
  const encode = (text: string, around: boolean): Int32Array => {
    const ids: readonly unknown[] = library.encode(text, { add_special_tokens: around }).ids;
    const whole = new Int32Array(ids.length);
    for (const [i, id] of ids.entries()) {
      if (typeof id !== "number" || id < 0) {
        const message = `expected a token for every piece of the text, got none for piece ${i}.`;
        throw new EspalierError("data", name, message, "The vocabulary lacks it and has no token for what is unknown.");
      }
      whole[i] = id;
    }
    return whole;
  };
  const special = specialIds(parsed, config, encode("", true), files, (text) => library.token_to_id(text) ?? null);
  const text = (id: number | null | undefined): string => (id == null ? "" : (library.id_to_token(id) ?? ""));
  const template = files.template ?? templateOf(config);
  return {
    name,
    vocabularySize: parsed.vocabularySize,
    special,
    encode: (given, { special: around = false } = {}) => encode(given, around),
    decode: (ids, { special: around = false } = {}) =>
      ids.length === 0
        ? ""
        : library.decode(Array.from(ids), {
            skip_special_tokens: !around,
            clean_up_tokenization_spaces: config["clean_up_tokenization_spaces"] === true,
          }),
    token: (id) => library.id_to_token(id) ?? null,
    chat:
      template === undefined
        ? null
        : conversation(
            template,
            { bos_token: text(special.begin), eos_token: text(special.end[0]), pad_token: text(special.pad) },
            `${name}, chat template`,
          ),
  };
}

function configOf(text: string | undefined, where: string): Json {
  const config = text === undefined ? {} : jsonOf(text);
  if (isRecord(config)) return config;
  throw new EspalierError("format", where, "expected an object of JSON, got something else.");
}

/** The config's tokens before the model's ids before what the tokenizer puts around a text. */
function specialIds(
  { vocabularySize, unknown }: TokenizerJson,
  config: Json,
  around: Int32Array,
  { models = [] }: TokenizerFiles,
  idOf: (token: string) => number | null,
): SpecialIds {
  const known = (id: unknown): id is number =>
    typeof id === "number" && Number.isInteger(id) && id >= 0 && id < vocabularySize;
  const told = (key: string): readonly number[] => {
    const named = config[`${key}_token`];
    const token = isRecord(named) ? named["content"] : named;
    const id = typeof token === "string" ? idOf(token) : null;
    if (id !== null) return [id];
    for (const text of models) {
      const ids = [field(jsonOf(text), `${key}_token_id`)].flat().filter(known);
      if (ids.length > 0) return ids;
    }
    return [];
  };
  return {
    begin: told("bos")[0] ?? around[0] ?? null,
    end: told("eos"),
    pad: told("pad")[0] ?? null,
    unknown: unknown === null ? null : idOf(unknown),
  };
}

/** The template of the config; of several, the one called "default". */
function templateOf(config: Json): string | undefined {
  const given = config["chat_template"];
  if (typeof given === "string") return given;
  if (!Array.isArray(given)) return undefined;
  const templates = given.filter(isRecord);
  const found = templates.find((each) => each["name"] === "default") ?? templates[0];
  const text = found?.["template"];
  return typeof text === "string" ? text : undefined;
}
