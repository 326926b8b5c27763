import { tokenInputs } from "../../data/text/token-inputs.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";
import { type Job, step } from "../../tensor/progress.ts";
import type { Tokenizer } from "../../tokenizers/tokenizer.ts";
import { openScorer } from "./likelihood.ts";

/** A text and what could come behind it. */
export interface Continued {
  readonly context: string;
  readonly continuation: string;
}

/** How likely a continuation is. */
export interface ContinuationScore {
  /** Σ log p of its tokens, in nats. */
  readonly logLikelihood: number;
  readonly tokens: number;
  /** Each of its tokens is the most likely one. */
  readonly greedy: boolean;
}

export interface ContinuationOptions extends Job {
  /** Texts of a run; 16 unless told. */
  readonly batchSize?: number;
  /** Most positions that the model has: longer texts lose their beginning. */
  readonly positions?: number;
}

/** Tokens of a text, of which the last `scored` are the continuation's. */
interface Request {
  readonly index: number;
  readonly tokens: Int32Array;
  readonly scored: number;
}

/**
 * How likely a model finds continuations. Texts are encoded as lm-eval does: space at the end of a context belongs to the
 * continuation, whose tokens are those of the whole text that the context alone does not have. Texts of like length run
 * together. Throws `data` for an empty continuation.
 */
export async function scoreContinuations(
  runtime: Runtime,
  graph: Graph,
  tokenizer: Tokenizer,
  texts: readonly Continued[],
  options: ContinuationOptions = {},
): Promise<readonly ContinuationScore[]> {
  const inputs = tokenInputs(graph.inputs);
  const positions = Math.min(options.positions ?? Number.POSITIVE_INFINITY, inputs.time ?? Number.POSITIVE_INFINITY);
  const requests = texts.map((text, index) => requestOf(tokenizer, text, index, positions));
  requests.sort((a, b) => b.tokens.length - a.tokens.length || a.index - b.index);
  const { batchSize = 16 } = options;
  const found: ContinuationScore[] = texts.map(() => ({ logLikelihood: 0, tokens: 0, greedy: false }));
  const scorer = await openScorer(runtime, graph, 1);
  const pad = tokenizer.special.pad ?? tokenizer.special.end[0] ?? 0;
  try {
    for (let start = 0; start < requests.length; start += batchSize) {
      step(options, "evaluate", start, requests.length);
      const part = requests.slice(start, start + batchSize);
      const time = inputs.time ?? part[0]?.tokens.length ?? 1;
      const tokens = new Int32Array(part.length * time).fill(pad);
      const labels = new Int32Array(part.length * time).fill(-1);
      for (const [row, { tokens: own, scored }] of part.entries()) {
        tokens.set(own, row * time);
        labels.set(own.subarray(own.length - scored), row * time + own.length - scored - 1);
      }
      const lengths = Int32Array.from(part, ({ tokens: own }) => own.length);
      const batch = { inputs: inputs.feeds(tokens, lengths, time), labels, count: part.length };
      const { nll, hits, count } = await scorer.score(batch);
      for (const [row, { index }] of part.entries()) {
        const scored = count[row] ?? 0;
        found[index] = { logLikelihood: -(nll[row] ?? 0), tokens: scored, greedy: hits[row] === scored };
      }
    }
    step(options, "evaluate", requests.length, requests.length);
  } finally {
    await scorer.release();
  }
  return found;
}

function requestOf(
  tokenizer: Tokenizer,
  { context, continuation }: Continued,
  index: number,
  positions: number,
): Request {
  const bare = context.trimEnd();
  const behind = `${context.slice(bare.length)}${continuation}`;
  const before = tokenizer.encode(bare, { special: true });
  const together = tokenizer.encode(`${bare}${behind}`, { special: true });
  // Where the continuation joins the last token of the context it has none of its own: then the two are encoded apart.
  const whole = together.length > before.length ? together : Int32Array.of(...before, ...tokenizer.encode(behind));
  // Without a first token a text of its own has nothing before it: what ends texts stands there then.
  const lead = before.length > 0 ? [] : [tokenizer.special.begin ?? tokenizer.special.end[0] ?? 0];
  const tokens = Int32Array.of(...lead, ...whole);
  const scored = whole.length - before.length;
  if (scored < 1 || scored >= positions) {
    const message = `expected a continuation of 1 to ${positions - 1} tokens, got ${scored}.`;
    throw new EspalierError("data", `text ${index}`, message);
  }
  return { index, tokens: tokens.slice(Math.max(0, tokens.length - positions)), scored };
}
