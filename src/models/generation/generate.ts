import type { Graph } from "../../graph/graph.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";
import { type Job, step } from "../../tensor/progress.ts";
import { random } from "../../tensor/random.ts";
import { checkDrawing, type Drawing, drawToken } from "./draw-token.ts";
import { openDecoder } from "./open-decoder.ts";

export interface GenerateOptions extends Drawing, Job {
  /** Most tokens that come to each text; 64 unless told. */
  readonly maxTokens?: number;
  /** Tokens that end a text. */
  readonly end?: readonly number[];
  /** Ends a text where this holds of the tokens that came to it. */
  readonly stop?: (tokens: Int32Array, text: number) => boolean;
  /** Most tokens that the model can look at. */
  readonly positions?: number;
  /** Fills shorter texts of a batch. */
  readonly pad?: number;
  /** Decides what is drawn: each text has numbers of its own, whatever stands beside it. */
  readonly seed?: number;
  /** Called with each token as it comes. */
  readonly onToken?: (token: number, text: number) => void;
}

/** What came to one text. */
export interface Continuation {
  /** New tokens, without the one that ended the text. */
  readonly tokens: Int32Array;
  /** Why it ended: a token that ends texts, `stop`, or as many tokens as were asked for or fit. */
  readonly ended: "end" | "stop" | "length";
}

export interface Generation {
  readonly texts: readonly Continuation[];
  /** Until the first token, and for all others. */
  readonly seconds: { readonly prompt: number; readonly tokens: number };
  /** Tokens of all texts for each second after the first; null where there was one. */
  readonly tokensPerSecond: number | null;
}

/**
 * Goes on with texts, all in one batch. A text that has ended takes part until the last one has, and is not looked at.
 * Throws `request` for an empty text or one that leaves no room.
 */
export async function generate(
  runtime: Runtime,
  graph: Graph,
  prompts: readonly Int32Array[],
  options: GenerateOptions = {},
): Promise<Generation> {
  const { maxTokens = 64, end = [], stop, positions = Number.POSITIVE_INFINITY, seed = 0, pad = 0 } = options;
  checkDrawing(options);
  const longest = Math.max(0, ...prompts.map(({ length }) => length));
  if (prompts.length === 0 || prompts.some(({ length }) => length === 0)) {
    throw new EspalierError("request", "prompt", "expected texts with a token each, got none.");
  }
  if (longest >= positions) {
    const message = `expected at most ${positions - 1} tokens, so that the model's ${positions} positions leave room, got ${longest}.`;
    throw new EspalierError("request", "prompt", message, "Give a shorter text.");
  }
  const room = Math.min(maxTokens, positions - longest);
  const streams = prompts.map((_, i) => random(seed, "generate", i));
  const found: number[][] = prompts.map(() => []);
  const ended: (Continuation["ended"] | null)[] = prompts.map(() => null);
  const decoder = await openDecoder(runtime, graph, pad);
  const start = performance.now();
  let begun = start;
  let later = 0;
  try {
    let given = prompts;
    for (let round = 0; round < room && ended.some((why) => why === null); round++) {
      step(options, "generate", round, room);
      const logits = await decoder.next(given);
      if (round === 0) begun = performance.now();
      else later += ended.filter((why) => why === null).length;
      given = logits.map((row, i) => {
        const stream = streams[i];
        const tokens = found[i];
        if (ended[i] !== null || stream === undefined || tokens === undefined) return Int32Array.of(pad);
        const token = drawToken(row, options, stream);
        if (end.includes(token)) ended[i] = "end";
        else {
          tokens.push(token);
          options.onToken?.(token, i);
          if (stop?.(Int32Array.from(tokens), i) === true) ended[i] = "stop";
        }
        return Int32Array.of(token);
      });
    }
    step(options, "generate", room, room);
  } finally {
    await decoder.release();
  }
  const seconds = { prompt: (begun - start) / 1000, tokens: (performance.now() - begun) / 1000 };
  return {
    texts: found.map((tokens, i) => ({ tokens: Int32Array.from(tokens), ended: ended[i] ?? "length" })),
    seconds,
    tokensPerSecond: later === 0 ? null : later / seconds.tokens,
  };
}
