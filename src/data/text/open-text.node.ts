import { dirname, join } from "node:path";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { checkVocabulary, type Tokenizer } from "../../tokenizers/tokenizer.ts";
import { tokenizerAt } from "../../tokenizers/tokenizer-files.node.ts";
import type { IndexedDataset } from "../dataset.ts";
import { describePath, openFile, readText } from "../files/file.node.ts";
import type { OpenOptions } from "../open.node.ts";
import { type DialogueForm, dialogueText } from "./dialogue.ts";
import { dialogues } from "./dialogues.ts";
import { type Documents, fieldOf, joinedDocuments, joinedRecords, type Records } from "./documents.ts";
import { jsonLines } from "./json-lines.ts";
import { parquet } from "./parquet.ts";
import { plainText } from "./plain-text.ts";
import { tokenWindows, type WindowOptions } from "./token-windows.ts";

/**
 * How text in files becomes windows of tokens. Where a prompt, a response or messages are named, records are dialogues, of which
 * the responses have labels; full windows then hold several.
 */
export interface TextForm
  extends DialogueForm,
    Pick<WindowOptions, "window" | "stride" | "begin" | "perDocument" | "first" | "whole" | "repeat"> {
  /** A tokenizer, or the path of one: tokenizer.json or a folder. The one beside the model unless told. */
  readonly tokenizer?: string | Tokenizer;
  /** The field or column of JSON lines or Parquet that holds the text; "text" unless told. */
  readonly field?: string;
  /** What stands between the documents of a plain text; without it the file is one document. */
  readonly separator?: string;
  /** Rows of the model's embedding. */
  readonly vocabulary?: number;
}

const textEndings = /\.(txt|text|md|jsonl|ndjson|parquet)$/i;
const maxConfigBytes = 1 << 24;

/** True where paths are of text: by their endings, or by what is told of text where they have none that is known. */
export async function isText(specs: readonly string[], { text }: OpenOptions): Promise<boolean> {
  const kinds = specs.map((spec) => textEndings.test(spec));
  if (kinds.every(Boolean)) return specs.length > 0;
  return kinds.some(Boolean) && text !== undefined;
}

/** Opens text as windows of tokens. Throws `file`, `format`, `data` or `request`. */
export async function openText(specs: readonly string[], options: OpenOptions): Promise<IndexedDataset> {
  const { text = {}, model, inputs, limit, seed } = options;
  const tokenizer = await tokenizerOf(text, model, specs[0] ?? "text");
  if (text.vocabulary !== undefined) checkVocabulary(tokenizer, text.vocabulary, model ?? "model");
  const positions = await positionsOf(model);
  const { tokenizer: _, field, separator, vocabulary, ...form } = text;
  const settings = {
    ...form,
    tokenizer,
    ...(limit === undefined ? {} : { limit }),
    ...(seed === undefined ? {} : { seed }),
    ...(inputs === undefined ? {} : { inputs }),
    ...(positions === undefined ? {} : { positions }),
  };
  if (fieldsOf(text) !== null) {
    const records = joinedRecords(await Promise.all(specs.map((spec) => recordsAt(spec, text, options.remote))));
    return dialogues(records, { ...settings, packed: text.whole === true });
  }
  const documents = joinedDocuments(await Promise.all(specs.map((spec) => documentsAt(spec, text, options.remote))));
  return tokenWindows(documents, settings);
}

/**
 * Opens text as it is written; of dialogues the prompt as it is given to a model, then the whole. Throws like `openText`; other data is refused.
 */
export async function openDocuments(specs: readonly string[], options: OpenOptions): Promise<Documents> {
  const { text = {}, model, remote } = options;
  if (!(await isText(specs, options))) {
    const hint = "Give .txt, .jsonl or .parquet.";
    throw new EspalierError("request", specs[0] ?? "text", "expected text, got other data.", hint);
  }
  if (fieldsOf(text) === null) {
    return joinedDocuments(await Promise.all(specs.map((spec) => documentsAt(spec, text, remote))));
  }
  const tokenizer = await tokenizerOf(text, model, specs[0] ?? "text");
  const records = joinedRecords(await Promise.all(specs.map((spec) => recordsAt(spec, text, remote))));
  return {
    description: records.description,
    async *read() {
      let number = 0;
      for await (const record of records.read()) {
        const where = `${records.description}, record ${number++}`;
        const { before, whole } = await dialogueText(record, tokenizer, text, where);
        if (before !== "") yield before;
        yield whole;
      }
    },
  };
}

/** The fields in which dialogues stand; null where text is text. */
function fieldsOf({ prompt, response, messages, chat = false }: TextForm): readonly string[] | null {
  if (messages !== undefined) return [messages];
  if (prompt === undefined && response === undefined && !chat) return null;
  return [prompt ?? "prompt", response ?? "response"];
}

async function recordsAt(spec: string, form: TextForm, remote: OpenOptions["remote"]): Promise<Records> {
  if (/\.(jsonl|ndjson)$/i.test(spec)) return jsonLines(await sourceAt(spec, remote));
  if (/\.parquet$/i.test(spec)) return parquet(await sourceAt(spec, remote), fieldsOf(form) ?? []);
  const hint = "A plain text has no fields: leave out --prompt, --response, --messages and --chat.";
  throw new EspalierError("request", spec, "expected prompts and responses in .jsonl or .parquet.", hint);
}

async function tokenizerOf({ tokenizer }: TextForm, model: string | undefined, where: string): Promise<Tokenizer> {
  if (typeof tokenizer === "object") return tokenizer;
  if (tokenizer !== undefined) return tokenizerAt(tokenizer);
  const folder = await folderOf(model);
  if (folder !== null && (await exists(join(folder, "tokenizer.json")))) return tokenizerAt(folder);
  const hint = "Name the folder of the model or its tokenizer.json: --tokenizer PATH.";
  throw new EspalierError("request", where, "expected a tokenizer for text, got none.", hint);
}

async function documentsAt(spec: string, form: TextForm, remote: OpenOptions["remote"]): Promise<Documents> {
  const source = await sourceAt(spec, remote);
  const { field = "text", separator } = form;
  if (/\.(jsonl|ndjson)$/i.test(spec)) return fieldOf(jsonLines(source), field);
  if (/\.parquet$/i.test(spec)) return fieldOf(parquet(source, [field]), field);
  return plainText(source, separator);
}

async function sourceAt(spec: string, remote: OpenOptions["remote"]): Promise<ByteSource> {
  return /^https?:\/\//.test(spec) && remote !== undefined ? remote(spec) : openFile(spec);
}

/** The positions that the model's configuration names. */
async function positionsOf(model: string | undefined): Promise<number | undefined> {
  const folder = await folderOf(model);
  const path = folder === null ? null : join(folder, "config.json");
  if (path === null || !(await exists(path))) return undefined;
  try {
    const config: unknown = JSON.parse(await readText(path, maxConfigBytes));
    if (typeof config !== "object" || config === null) return undefined;
    const positions: unknown = Reflect.get(config, "max_position_embeddings") ?? Reflect.get(config, "n_positions");
    return typeof positions === "number" ? positions : undefined;
  } catch (cause) {
    throw new EspalierError("format", path, "expected JSON, got other text.", "", { cause });
  }
}

/** The folder of a model: itself, or the one that its file lies in. */
async function folderOf(model: string | undefined): Promise<string | null> {
  if (model === undefined || /^https?:\/\//.test(model) || !(await exists(model))) return null;
  return (await describePath(model)).folder ? model : dirname(model);
}

async function exists(path: string): Promise<boolean> {
  try {
    await describePath(path);
    return true;
  } catch (error) {
    if (error instanceof EspalierError) return false;
    throw error;
  }
}
