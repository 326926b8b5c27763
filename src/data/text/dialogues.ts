import { EspalierError } from "../../tensor/error.ts";
import { random } from "../../tensor/random.ts";
import type { Tokenizer } from "../../tokenizers/tokenizer.ts";
import type { InputType } from "../bind.ts";
import { type IndexedDataset, indexed } from "../dataset.ts";
import { sample, shuffled, take } from "../subset.ts";
import { type Dialogue, type DialogueForm, dialogueOf } from "./dialogue.ts";
import type { Records } from "./documents.ts";
import { tokenInputs } from "./token-inputs.ts";

export interface DialogueOptions extends DialogueForm {
  readonly tokenizer: Tokenizer;
  /** Tokens of a sample; what the model's graph fixes, unless told. Longer dialogues are left out. */
  readonly window?: number;
  /**
   * Dialogues one behind the other in windows that are full, for statistics that filling would spoil; one that does not fit
   * goes on in the next. Without, each is a sample of its own, filled up.
   */
  readonly packed?: boolean;
  /** At most so many samples: the first ones, or with a seed random ones. */
  readonly limit?: number;
  /** Decides the order: of dialogues before they are packed, else of samples. */
  readonly seed?: number;
  readonly inputs?: readonly InputType[];
  /** The most positions that the model has. */
  readonly positions?: number;
}

/** Samples before they are gathered: tokens, the labels behind them, and how many of each are no filling. */
interface Rows {
  readonly count: number;
  /** Writes a sample into a row of tokens and one of labels, which are −1; gives its length. */
  fill(sample: number, tokens: Int32Array, labels: Int32Array): number;
}

/**
 * Prompts with responses as samples of `window` tokens: labels are the next tokens of the response and of what ends it, −1
 * elsewhere. Throws `data` for records of another form and where every sample is too long, `request` without a template that
 * is asked for, or for a window that does not fit the model.
 */
export async function dialogues(records: Records, options: DialogueOptions): Promise<IndexedDataset> {
  const { tokenizer, packed = false, limit, seed } = options;
  const inputs = tokenInputs(options.inputs);
  const window = windowOf(options, inputs.time);
  const kept: Dialogue[] = [];
  let [number, long] = [0, 0];
  for await (const record of records.read()) {
    const dialogue = await dialogueOf(record, tokenizer, options, `${records.description}, record ${number++}`);
    if (dialogue.tokens.length > window && !packed) long++;
    else kept.push(dialogue);
  }
  if (kept.length === 0) {
    const got = number === 0 ? "none" : `${long} that are longer`;
    throw new EspalierError("data", records.description, `expected samples of at most ${window} tokens, got ${got}.`);
  }
  const rows = packed ? packedRows(mixed(kept, seed), window) : filledRows(kept);
  if (rows.count === 0) {
    const message = `expected responses that fill a window of ${window} tokens, got less.`;
    throw new EspalierError("data", records.description, message, "Give more of them or a shorter window.");
  }
  const pad = tokenizer.special.pad ?? tokenizer.special.end[0] ?? 0;
  const left = long === 0 ? "" : `, ${long} longer ones left out`;
  const what = packed
    ? `${kept.length} responses in ${rows.count} windows of ${window} tokens`
    : `${rows.count} responses in ${window} tokens each${left}`;
  const whole = indexed({
    description: `${records.description}: ${what}, tokens of ${tokenizer.name}`,
    count: rows.count,
    labelled: true,
    labelShape: [window],
    features: inputs.features(window),
    async gather(positions) {
      const tokens = new Int32Array(positions.length * window).fill(pad);
      const labels = new Int32Array(positions.length * window).fill(-1);
      const lengths = Int32Array.from(positions, (position, i) => {
        const [start, end] = [i * window, (i + 1) * window];
        return rows.fill(position, tokens.subarray(start, end), labels.subarray(start, end));
      });
      return { inputs: inputs.feeds(tokens, lengths, window), labels, count: positions.length };
    },
  });
  if (seed === undefined || packed) return limit === undefined ? whole : take(whole, limit);
  return limit === undefined ? shuffled(whole, seed) : sample(whole, Math.min(limit, whole.count), seed);
}

function mixed(kept: readonly Dialogue[], seed: number | undefined): readonly Dialogue[] {
  if (seed === undefined) return kept;
  return [...random(seed, "dialogues").permutation(kept.length)].flatMap((place) => kept[place] ?? []);
}

/** Each dialogue from the beginning of a row. */
function filledRows(kept: readonly Dialogue[]): Rows {
  return {
    count: kept.length,
    fill(sample, tokens, labels) {
      const own = kept[sample];
      if (own === undefined) return 0;
      tokens.set(own.tokens);
      labels.set(own.tokens.subarray(own.from), own.from - 1);
      return own.tokens.length;
    },
  };
}

/** All dialogues as one sequence, cut into rows; what does not fill the last is left out. */
function packedRows(kept: readonly Dialogue[], window: number): Rows {
  const length = kept.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const sequence = new Int32Array(length);
  const counts = new Uint8Array(length);
  let at = 0;
  for (const { tokens, from } of kept) {
    sequence.set(tokens, at);
    counts.fill(1, at + from, at + tokens.length);
    at += tokens.length;
  }
  return {
    count: Math.floor(length / window),
    fill(sample, tokens, labels) {
      const start = sample * window;
      tokens.set(sequence.subarray(start, start + window));
      for (let i = 1; i < window; i++) if (counts[start + i] === 1) labels[i - 1] = sequence[start + i] ?? -1;
      return window;
    },
  };
}

function windowOf({ window: told, positions }: DialogueOptions, time: number | null): number {
  const window = told ?? time;
  const fail = (expected: string, hint = ""): EspalierError =>
    new EspalierError("request", "window", `expected ${expected}, got ${window ?? "none"}.`, hint);
  if (window === null) throw fail("a number of tokens", "Give the length of a sample: --window 512.");
  if (time !== null && time !== window) throw fail(`the ${time} tokens that the model's graph fixes`);
  if (!Number.isInteger(window) || window < 2) throw fail("at least 2 tokens");
  if (positions !== undefined && window > positions) {
    throw fail(`at most the ${positions} positions of the model`, "Give a shorter --window.");
  }
  return window;
}
