import { EspalierError } from "../../tensor/error.ts";
import type { Message } from "../../tokenizers/chat.ts";
import type { Tokenizer } from "../../tokenizers/tokenizer.ts";
import type { InputType } from "../bind.ts";
import { type IndexedDataset, indexed } from "../dataset.ts";
import { type Records, textOf } from "./documents.ts";
import { tokenInputs } from "./token-inputs.ts";

export interface DialogueOptions {
  readonly tokenizer: Tokenizer;
  /** Tokens of a sample; what the model's graph fixes, unless told. Longer samples are left out. */
  readonly window?: number;
  /** Fields with the prompt and the response; "prompt" and "response" unless told. */
  readonly prompt?: string;
  readonly response?: string;
  /** Field with a list of { role, content }, in the place of the two; the last turn is the response. */
  readonly messages?: string;
  /** Writes prompts, too, by the tokenizer's chat template. Turns of `messages` always are. */
  readonly chat?: boolean;
  /** Learns the prompt as well. */
  readonly wholeText?: boolean;
  readonly inputs?: readonly InputType[];
}

/** A sample: tokens, and where its response begins. */
interface Sample {
  readonly tokens: Int32Array;
  readonly from: number;
}

/**
 * Prompts with responses as samples of `window` tokens: labels are the next tokens of the response and of what ends it, −1
 * elsewhere. Throws `data` for records of another form and where every sample is too long, `request` without a template that
 * is asked for.
 */
export async function dialogues(records: Records, options: DialogueOptions): Promise<IndexedDataset> {
  const { tokenizer } = options;
  const inputs = tokenInputs(options.inputs);
  const window = options.window ?? inputs.time;
  if (window === null || (inputs.time !== null && inputs.time !== window)) {
    const expected =
      inputs.time === null ? "a number of tokens" : `the ${inputs.time} tokens that the model's graph fixes`;
    throw new EspalierError("request", "window", `expected ${expected}, got ${window ?? "none"}.`);
  }
  const kept: Sample[] = [];
  let [number, long] = [0, 0];
  for await (const record of records.read()) {
    const sample = await sampleOf(record, options, `${records.description}, record ${number++}`);
    if (sample.tokens.length > window) long++;
    else kept.push(sample);
  }
  if (kept.length === 0) {
    const got = number === 0 ? "none" : `${long} that are longer`;
    throw new EspalierError("data", records.description, `expected samples of at most ${window} tokens, got ${got}.`);
  }
  const pad = tokenizer.special.pad ?? tokenizer.special.end[0] ?? 0;
  const left = long === 0 ? "" : `, ${long} longer ones left out`;
  return indexed({
    description: `${records.description}: ${kept.length} responses in ${window} tokens each${left}, tokens of ${tokenizer.name}`,
    count: kept.length,
    labelled: true,
    labelShape: [window],
    features: inputs.features(window),
    async gather(positions) {
      const tokens = new Int32Array(positions.length * window).fill(pad);
      const labels = new Int32Array(positions.length * window).fill(-1);
      const lengths = new Int32Array(positions.length);
      for (const [i, position] of positions.entries()) {
        const sample = kept[position];
        if (sample === undefined) continue;
        tokens.set(sample.tokens, i * window);
        labels.set(sample.tokens.subarray(sample.from), i * window + sample.from - 1);
        lengths[i] = sample.tokens.length;
      }
      return { inputs: inputs.feeds(tokens, lengths, window), labels, count: positions.length };
    },
  });
}

async function sampleOf(
  record: Readonly<Record<string, unknown>>,
  { tokenizer, prompt = "prompt", response = "response", messages, chat = false, wholeText = false }: DialogueOptions,
  where: string,
): Promise<Sample> {
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
  const end = templated ? [] : tokenizer.special.end.slice(0, 1);
  const tokens = Int32Array.of(...tokenizer.encode(whole ?? "", { special: !templated }), ...end);
  const known = tokenizer.encode(before ?? "", { special: !templated });
  // What the two have in common is the prompt: its last token may have joined the response's first.
  let from = 0;
  while (from < known.length && known[from] === tokens[from]) from++;
  if (tokens.length - from < 1) throw new EspalierError("data", where, "expected a response with a token, got none.");
  return { tokens, from: Math.max(1, wholeText ? 1 : from) };
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
