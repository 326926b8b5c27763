import * as z from "zod";
import { EspalierError, jsonLines, memorySource, type Tokenizer } from "../index.node.ts";
import type { Host } from "./host.ts";

const count = z.int().min(0);
const texts = z.union([z.string().transform((text) => [text]), z.array(z.string())]);

const text = z.strictObject({
  prompt: z.string(),
  ids: z.array(count).min(1),
  said: z.array(count),
  ended: z.enum(["end", "stop", "length"]).nullable(),
  stop: z.array(z.string()),
  maxTokens: z.int().min(1).optional(),
  seed: count,
});

const saved = z.strictObject({
  model: z.string(),
  drawing: z.strictObject({
    temperature: z.number().min(0).optional(),
    topP: z.number().gt(0).max(1).optional(),
    topK: z.int().min(1).optional(),
  }),
  texts: z.array(text).min(1),
});

/** A text to go on with: what it began with, what came to it, and when it ends. */
export type SavedText = z.infer<typeof text>;

/** Texts between two runs, and how their tokens are drawn. */
export type SavedTexts = z.infer<typeof saved>;

/** Reads what an earlier run saved. Throws `file` or `format`. */
export async function readSaved(path: string, host: Host): Promise<SavedTexts> {
  const content = await host.readText(path);
  if (content === null) throw new EspalierError("file", path, "expected texts of an earlier run, got no file.");
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (cause) {
    throw new EspalierError("format", path, "expected texts of an earlier run, got no JSON.", "", { cause });
  }
  const result = saved.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const message = `expected texts of an earlier run; ${issue?.path.map(String).join(".")}: ${issue?.message}.`;
  throw new EspalierError("format", path, message, "Name a file that --save wrote.");
}

const record = z.strictObject({
  prompt: z.string().optional(),
  messages: z
    .array(z.strictObject({ role: z.string(), content: z.string() }))
    .min(1)
    .optional(),
  stop: texts.optional(),
  "max-tokens": z.int().min(1).optional(),
  seed: count.optional(),
});

interface Beginning {
  readonly tokenizer: Tokenizer;
  /** Prompts are what a user says. */
  readonly chat: boolean;
  readonly stop: readonly string[];
  /** Of the first text; the next has the next. */
  readonly seed: number;
}

/** Texts from prompts of the command line, then from records of `prompt` or `messages` with `stop`, `max-tokens` and `seed` of their own. */
export async function textsFrom(
  prompts: readonly string[],
  file: string | undefined,
  beginning: Beginning,
  host: Host,
): Promise<readonly SavedText[]> {
  const records: z.infer<typeof record>[] = prompts.map((prompt) => ({ prompt }));
  if (file !== undefined) {
    const content = await host.readText(file);
    if (content === null) throw new EspalierError("file", file, "expected prompts, got no file.", "Check the path.");
    for await (const row of jsonLines(memorySource(file, new TextEncoder().encode(content))).read()) {
      const result = record.safeParse(row);
      if (!result.success) {
        const [issue] = result.error.issues;
        const message = `expected a prompt or messages, with stop, max-tokens or seed; ${issue?.message}.`;
        throw new EspalierError("data", `${file}, record ${records.length - prompts.length}`, message);
      }
      records.push(result.data);
    }
  }
  const found: SavedText[] = [];
  for (const [i, one] of records.entries()) {
    const turns = one.messages ?? (beginning.chat ? [{ role: "user", content: one.prompt ?? "" }] : null);
    const { tokenizer } = beginning;
    if (turns !== null && tokenizer.chat === null) {
      throw new EspalierError("request", "--chat", `expected a chat template in ${tokenizer.name}, got none.`);
    }
    const plain = one.prompt ?? one.messages?.at(-1)?.content ?? "";
    const written = turns === null ? plain : ((await tokenizer.chat?.(turns, { answer: true })) ?? plain);
    const ids = [...tokenizer.encode(written, { special: turns === null })];
    if (ids.length === 0) {
      throw new EspalierError("request", "prompt", `expected a text with a token, got "${plain.slice(0, 40)}".`);
    }
    found.push({
      prompt: turns === null ? plain : "",
      ids,
      said: [],
      ended: null,
      stop: [...(one.stop ?? beginning.stop)],
      ...(one["max-tokens"] === undefined ? {} : { maxTokens: one["max-tokens"] }),
      seed: one.seed ?? beginning.seed + i,
    });
  }
  return found;
}

/** What was said, up to the first text that ends it. A space before a word is only told where the word before it is there too. */
export function saidText({ ids, said, stop }: Pick<SavedText, "ids" | "said" | "stop">, tokenizer: Tokenizer): string {
  const whole = tokenizer.decode(Int32Array.of(...ids, ...said)).slice(tokenizer.decode(ids).length);
  const ends = stop.map((end) => whole.indexOf(end)).filter((place) => place >= 0);
  return whole.slice(0, Math.min(whole.length, ...ends));
}
