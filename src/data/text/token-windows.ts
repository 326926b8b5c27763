import { EspalierError } from "../../tensor/error.ts";
import { random } from "../../tensor/random.ts";
import type { Tokenizer } from "../../tokenizers/tokenizer.ts";
import type { InputType } from "../bind.ts";
import { type IndexedDataset, indexed } from "../dataset.ts";
import type { Documents } from "./documents.ts";
import { tokenInputs } from "./token-inputs.ts";
import { type Cut, cutter } from "./window-cutter.ts";

export interface WindowOptions {
  readonly tokenizer: Tokenizer;
  /** Tokens of a window; what the model's graph fixes, unless told. */
  readonly window?: number;
  /** Tokens from the start of a window to that of the next; as many as a window holds of the text, unless told. */
  readonly stride?: number;
  /** What begins with the tokenizer's first token: every window (default), every document, or nothing. */
  readonly begin?: "window" | "document" | "none";
  /** Cuts each document alone, instead of all of them one behind the other. */
  readonly perDocument?: boolean;
  /** Of each document only the first window. */
  readonly first?: boolean;
  /** Leaves out windows that are not full, which would be filled up. */
  readonly whole?: boolean;
  /** Labels for tokens that an earlier window has predicted too: for training, where each place counts alike. */
  readonly repeat?: boolean;
  /** At most so many windows: the first ones, or with a seed random ones, so that no more are held in memory. */
  readonly limit?: number;
  /** Decides the order, and which windows where there is a limit; those of a smaller limit come first in a larger one. */
  readonly seed?: number;
  /** The model's inputs; one input "tokens" unless told. */
  readonly inputs?: readonly InputType[];
  /** The most positions that the model has. */
  readonly positions?: number;
}

/** Tokens that are held at once: 1 GiB. */
const MOST_TOKENS = 1 << 28;

/**
 * Text as samples of `window` tokens. Labels are the next tokens, −1 where the next token does not count: behind the last
 * token, where a window was filled up, and where an earlier window has predicted it. Throws `data` for text without a token to
 * predict or too much of it, `request` for sizes that do not fit.
 */
export async function tokenWindows(documents: Documents, options: WindowOptions): Promise<IndexedDataset> {
  const { tokenizer, perDocument = false, begin = "window", limit, seed, repeat = false } = options;
  const inputs = tokenInputs(options.inputs);
  const cut = cutOf(options, inputs.time);
  const { window, stride } = cut;
  const lead = begin === "document" ? [tokenizer.special.begin ?? []].flat() : [];
  const store =
    seed === undefined || limit === undefined ? growing(window, documents, limit) : drawing(window, limit, seed);
  const pad = tokenizer.special.pad ?? tokenizer.special.end[0] ?? tokenizer.special.begin ?? 0;
  const cutting = cutter(cut, pad, store.take);
  for await (const text of documents.read()) {
    const tokens = tokenizer.encode(text);
    cutting.add(lead.length === 0 ? tokens : Int32Array.of(...lead, ...tokens));
    if (perDocument) cutting.end();
    if (store.full()) break;
  }
  if (!perDocument) cutting.end();
  const { tokens, from, lengths } = store.result();
  const order = seed !== undefined && limit === undefined ? random(seed, "windows").permutation(lengths.length) : null;
  if (lengths.length === 0) throw nothing(documents, cut);
  const how = `windows of ${window} tokens, stride ${stride}${perDocument ? ", each document alone" : ""}`;
  const drawn = seed === undefined ? "" : `, ${limit === undefined ? "shuffled" : "drawn"} with seed ${seed}`;
  return indexed({
    description: `${documents.description}: ${lengths.length} ${how}${drawn}, tokens of ${tokenizer.name}`,
    count: lengths.length,
    labelled: true,
    labelShape: [window],
    features: inputs.features(window),
    async gather(positions) {
      const values = new Int32Array(positions.length * window);
      const labels = new Int32Array(positions.length * window).fill(-1);
      const sizes = new Int32Array(positions.length);
      for (const [i, position] of positions.entries()) {
        const at = order === null ? position : (order[position] ?? 0);
        const row = tokens.subarray(at * window, (at + 1) * window);
        const [start, length] = [repeat ? 1 : (from[at] ?? 1), lengths[at] ?? 0];
        values.set(row, i * window);
        // The label of a place is the token behind it.
        labels.set(row.subarray(start, length), i * window + start - 1);
        sizes[i] = length;
      }
      return { inputs: inputs.feeds(values, sizes, window), labels, count: positions.length };
    },
  });
}

/** How windows are cut, from what is told and what the model fixes. */
function cutOf(options: WindowOptions, time: number | null): Cut {
  const { tokenizer, begin = "window", positions, whole = false, first = false } = options;
  const { window = time ?? undefined } = options;
  const fail = (what: string, expected: string, got: string, hint = ""): EspalierError =>
    new EspalierError("request", what, `expected ${expected}, got ${got}.`, hint);
  if (window === undefined)
    throw fail("window", "a number of tokens", "none", "Give the length of a window: --window 512.");
  const each = begin === "window" ? tokenizer.special.begin : null;
  const least = each === null ? 2 : 3;
  if (!Number.isInteger(window) || window < least) throw fail("window", `at least ${least} tokens`, `${window}`);
  if (time !== null && window !== time)
    throw fail("window", `the ${time} tokens that the model's graph fixes`, `${window}`);
  if (positions !== undefined && window > positions) {
    throw fail("window", `at most the ${positions} positions of the model`, `${window}`, "Give a shorter --window.");
  }
  const body = each === null ? window : window - 1;
  const { stride = body } = options;
  if (!Number.isInteger(stride) || stride < 1) throw fail("stride", "a whole number from 1", `${stride}`);
  return { window, stride, begin: each, whole, first };
}

/** Windows that were taken: tokens of all, one behind the other; the first place to predict, and the length, of each. */
interface Taken {
  readonly tokens: Int32Array;
  readonly from: Int32Array;
  readonly lengths: Int32Array;
}

interface Store {
  take(tokens: Int32Array, from: number, length: number): void;
  /** True where nothing more is wanted. */
  full(): boolean;
  result(): Taken;
}

/** Keeps windows as they come, all or the first. Throws `data` where they are too many. */
function growing(window: number, documents: Documents, limit = Number.POSITIVE_INFINITY): Store {
  let tokens = new Int32Array(window * 64);
  const from: number[] = [];
  const lengths: number[] = [];
  return {
    take(given, start, length) {
      if (lengths.length >= limit) return;
      const at = lengths.length * window;
      if (at + window > MOST_TOKENS) {
        const message = `expected at most ${MOST_TOKENS} tokens in windows, got more.`;
        throw new EspalierError("data", documents.description, message, "Take some: a limit of windows and a seed.");
      }
      if (at + window > tokens.length) {
        const larger = new Int32Array(tokens.length * 2);
        larger.set(tokens);
        tokens = larger;
      }
      tokens.set(given, at);
      from.push(start);
      lengths.push(length);
    },
    full: () => lengths.length >= limit,
    result: () => ({ tokens, from: Int32Array.from(from), lengths: Int32Array.from(lengths) }),
  };
}

/** Keeps the windows with the smallest of random keys, which are as many random ones, of however many there are. */
function drawing(window: number, limit: number, seed: number): Store {
  const keys = random(seed, "windows");
  const kept: { readonly key: number; readonly tokens: Int32Array; readonly from: number; readonly length: number }[] =
    [];
  let most = Number.POSITIVE_INFINITY;
  const settle = (): void => {
    kept.sort((a, b) => a.key - b.key);
    kept.length = Math.min(kept.length, limit);
    if (kept.length === limit) most = kept.at(-1)?.key ?? most;
  };
  return {
    take(tokens, from, length) {
      const key = keys.uniform();
      if (key >= most) return;
      kept.push({ key, tokens: tokens.slice(), from, length });
      if (kept.length >= 2 * limit + 64) settle();
    },
    full: () => false,
    result() {
      settle();
      const tokens = new Int32Array(kept.length * window);
      for (const [i, one] of kept.entries()) tokens.set(one.tokens, i * window);
      return {
        tokens,
        from: Int32Array.from(kept, (one) => one.from),
        lengths: Int32Array.from(kept, (one) => one.length),
      };
    },
  };
}

function nothing(documents: Documents, { window, whole }: Cut): EspalierError {
  const expected = whole ? `text that fills a window of ${window} tokens` : "text with a token to predict";
  const hint = whole ? "Give more text or a shorter window." : "Give text that is not empty.";
  return new EspalierError("data", documents.description, `expected ${expected}, got less.`, hint);
}
