import { EspalierError } from "../../tensor/error.ts";
import type { Message } from "../../tokenizers/chat.ts";
import type { Tokenizer } from "../../tokenizers/tokenizer.ts";
import { textOf } from "./documents.ts";

/** Where prompts and responses stand in records, and how they are written. */
export interface DialogueForm {
  /** Fields with the prompt and the response; "prompt" and "response" unless told. */
  readonly prompt?: string;
  readonly response?: string;
  /** Field with a list of { role, content }, in the place of the two; the last turn is the response. */
  readonly messages?: string;
  /** Writes prompts, too, by the tokenizer's chat template. Turns of `messages` always are. */
  readonly chat?: boolean;
  /** Learns the prompt as well. */
  readonly wholeText?: boolean;
}

/** A prompt with its response as tokens, and the first place that counts: where the response begins, at least 1. */
export interface Dialogue {
  readonly tokens: Int32Array;
  readonly from: number;
}

/**
 * A record as tokens. Throws `data` for a record of another form, `request` without a template that is asked for. A token that
 * is partly of the prompt, partly of the response is the response's.
 */
export async function dialogueOf(
  record: Readonly<Record<string, unknown>>,
  tokenizer: Tokenizer,
  form: DialogueForm,
  where: string,
): Promise<Dialogue> {
  const { before, whole, templated } = await dialogueText(record, tokenizer, form, where);
  const end = templated ? [] : tokenizer.special.end.slice(0, 1);
  const tokens = Int32Array.of(...tokenizer.encode(whole, { special: !templated }), ...end);
  const known = tokenizer.encode(before, { special: !templated });
  // What the two have in common is the prompt: its last token may have joined the response's first.
  let from = 0;
  while (from < known.length && known[from] === tokens[from]) from++;
  if (tokens.length - from < 1) throw new EspalierError("data", where, "expected a response with a token, got none.");
  return { tokens, from: Math.max(1, form.wholeText === true ? 1 : from) };
}

/** A dialogue as text. */
interface DialogueText {
  /** The prompt, and the prompt with its response. */
  readonly before: string;
  readonly whole: string;
  /** True where a template wrote them, with special tokens in it. */
  readonly templated: boolean;
}

/** A record as text. Throws like `dialogueOf`. */
export async function dialogueText(
  record: Readonly<Record<string, unknown>>,
  tokenizer: Tokenizer,
  { prompt = "prompt", response = "response", messages, chat = false }: DialogueForm,
  where: string,
): Promise<DialogueText> {
  const turns =
    messages === undefined
      ? [
          { role: "user", content: textOf(record, prompt, where) },
          { role: "assistant", content: textOf(record, response, where) },
        ]
      : turnsOf(record[messages], where);
  const templated = messages !== undefined || chat;
  if (templated && tokenizer.chat === null) {
    throw new EspalierError(
      "request",
      tokenizer.name,
      "expected a chat template, got none.",
      "Give prompts as plain text.",
    );
  }
  const [first, second] = [turns.at(-2)?.content ?? "", turns.at(-1)?.content ?? ""];
  const before = templated ? await tokenizer.chat?.(turns.slice(0, -1), { answer: true }) : first;
  const whole = templated ? await tokenizer.chat?.(turns) : `${first}${second}`;
  return { before: before ?? "", whole: whole ?? "", templated };
}

function turnsOf(value: unknown, where: string): readonly Message[] {
  const turns: Message[] = [];
  for (const turn of Array.isArray(value) ? value : []) {
    const [role, content] = [Reflect.get(Object(turn), "role"), Reflect.get(Object(turn), "content")];
    if (typeof role === "string" && typeof content === "string") turns.push({ role, content });
  }
  if (Array.isArray(value) && turns.length === value.length && turns.length >= 2) return turns;
  const message = "expected at least two turns of { role, content }, got something else.";
  throw new EspalierError("data", where, message);
}
