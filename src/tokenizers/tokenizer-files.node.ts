import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { EspalierError } from "../tensor/error.ts";
import { openTokenizer } from "./open-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Bytes of the largest file that is read. */
const MOST = 1 << 28;

/** The tokenizer of a folder, or of a tokenizer.json with what lies beside it. Throws `file` or `format`. */
export async function tokenizerAt(path: string): Promise<Tokenizer> {
  const found = await stat(path).catch(() => null);
  if (found === null)
    throw new EspalierError("file", path, "expected a tokenizer, got nothing there.", "Check the path.");
  const file = found.isDirectory() ? join(path, "tokenizer.json") : path;
  const tokenizer = await textAt(file);
  if (tokenizer === undefined) {
    const hint = "Save the tokenizer in its fast form, which writes a tokenizer.json.";
    throw new EspalierError("file", path, "expected a tokenizer.json, got none.", hint);
  }
  const beside = (name: string): Promise<string | undefined> => textAt(join(dirname(file), name));
  const models = [await beside("generation_config.json"), await beside("config.json")];
  return openTokenizer({
    name: path,
    tokenizer,
    config: await beside("tokenizer_config.json"),
    template: await beside("chat_template.jinja"),
    models: models.filter((text) => text !== undefined),
  });
}

/** The text of a file; undefined where there is none. Throws `file` where it cannot be read. */
async function textAt(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(() => null);
  if (found === null) return undefined;
  if (!found.isFile() || found.size > MOST) {
    throw new EspalierError("file", path, `expected a file of at most ${MOST} bytes, got another thing.`);
  }
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError("file", path, `expected a readable file, got: ${why}.`, "", { cause });
  }
}
