import type { Graph } from "../../graph/graph.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";
import { type Job, step } from "../../tensor/progress.ts";
import { type Random, random } from "../../tensor/random.ts";
import { checkDrawing, type Drawing, drawToken } from "./draw-token.ts";
import { openDecoder } from "./open-decoder.ts";

/** A text to go on with, and what holds for it alone. */
export interface Prompt extends Pick<GenerateOptions, "maxTokens" | "end"> {
  readonly tokens: Int32Array;
  /** What came to it in an earlier run: it goes on behind that, as if it had never stopped. */
  readonly said?: Int32Array;
  /** Ends it where this holds of all that came to it. */
  readonly stop?: (tokens: Int32Array) => boolean;
  /** Decides what is drawn for it, whatever it stands beside. */
  readonly seed?: number;
}

export interface GenerateOptions extends Drawing, Job {
  /** Most tokens that come to each text in this run; 64 unless told. */
  readonly maxTokens?: number;
  /** Tokens that end a text. */
  readonly end?: readonly number[];
  /** Ends a text where this holds of the tokens that came to it. */
  readonly stop?: (tokens: Int32Array, text: number) => boolean;
  /** Most tokens that the model can look at. */
  readonly positions?: number;
  /** Fills shorter texts of a batch. */
  readonly pad?: number;
  /** Decides what is drawn: each text without a seed of its own has numbers of its own, by its place. */
  readonly seed?: number;
  /** Called with each token as it comes. */
  readonly onToken?: (token: number, text: number) => void;
}

/** What came to one text. */
export interface Continuation {
  /** New tokens, those of an earlier run included, without the one that ended the text. */
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

/** A text while it is gone on with. */
interface Line {
  readonly found: number[];
  /** Tokens that may still come. */
  room: number;
  ended: Continuation["ended"] | null;
  readonly stream: Random;
  readonly end: readonly number[];
  readonly stop: (tokens: Int32Array) => boolean;
}

/**
 * Goes on with texts, all in one batch, each to its own end; what each says is what it would say alone. A text that has ended
 * takes part until the last one has, and is not looked at. Throws `request` for an empty text or one that leaves no room.
 */
export async function generate(
  runtime: Runtime,
  graph: Graph,
  prompts: readonly (Int32Array | Prompt)[],
  options: GenerateOptions = {},
): Promise<Generation> {
  const { positions = Number.POSITIVE_INFINITY, pad = 0 } = options;
  checkDrawing(options);
  const asked = prompts.map((prompt): Prompt => (prompt instanceof Int32Array ? { tokens: prompt } : prompt));
  const texts = asked.map(({ tokens, said }) => (said === undefined ? tokens : Int32Array.of(...tokens, ...said)));
  checkTexts(texts, positions);
  const lines = asked.map((prompt, i) => lineOf(prompt, i, positions - (texts[i]?.length ?? 0), options));
  const rounds = Math.max(...lines.map(({ room }) => room));
  const isOver = (): boolean => lines.every(({ ended }) => ended !== null);
  const decoder = await openDecoder(runtime, graph, { pad, positions });
  const start = performance.now();
  let begun = start;
  let later = 0;
  try {
    let given: readonly Int32Array[] = texts;
    for (let round = 0; !isOver(); round++) {
      step(options, "generate", round, rounds);
      const logits = await decoder.next(given);
      if (round === 0) begun = performance.now();
      else later += lines.filter(({ ended }) => ended === null).length;
      given = lines.map((line, i) => {
        if (line.ended !== null) return Int32Array.of(pad);
        const token = drawToken(logits[i] ?? new Float32Array(0), options, line.stream);
        if (line.end.includes(token)) line.ended = "end";
        else {
          line.found.push(token);
          line.room--;
          options.onToken?.(token, i);
          if (line.stop(Int32Array.from(line.found))) line.ended = "stop";
          else if (line.room === 0) line.ended = "length";
        }
        return Int32Array.of(token);
      });
    }
    step(options, "generate", rounds, rounds);
  } finally {
    await decoder.release();
  }
  const seconds = { prompt: (begun - start) / 1000, tokens: (performance.now() - begun) / 1000 };
  return {
    texts: lines.map(({ found, ended }) => ({ tokens: Int32Array.from(found), ended: ended ?? "length" })),
    seconds,
    tokensPerSecond: later === 0 ? null : later / seconds.tokens,
  };
}

function lineOf(prompt: Prompt, index: number, fit: number, options: GenerateOptions): Line {
  const { said = new Int32Array(0), maxTokens = options.maxTokens ?? 64, end = options.end ?? [] } = prompt;
  const stop = prompt.stop ?? ((tokens) => options.stop?.(tokens, index) === true);
  const room = Math.min(maxTokens, fit);
  const stream =
    prompt.seed === undefined ? random(options.seed ?? 0, "generate", index) : random(prompt.seed, "generate");
  // An earlier run drew a number for each token.
  for (let drawn = 0; drawn < said.length; drawn++) stream.uniform();
  return { found: [...said], room, ended: room > 0 ? null : "length", stream, end, stop };
}

/** Throws `request` where there is nothing to go on with, or no place for what comes. */
function checkTexts(texts: readonly Int32Array[], positions: number): void {
  if (texts.length === 0 || texts.some(({ length }) => length === 0)) {
    throw new EspalierError("request", "prompt", "expected texts with a token each, got none.");
  }
  const longest = Math.max(...texts.map(({ length }) => length));
  if (longest < positions) return;
  const message = `expected at most ${positions - 1} tokens, so that the model's ${positions} positions leave room, got ${longest}.`;
  throw new EspalierError("request", "prompt", message, "Give a shorter text.");
}
