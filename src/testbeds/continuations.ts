import type { IndexedDataset } from "../data/dataset.ts";
import { sample } from "../data/subset.ts";
import { tokenInputs } from "../data/text/token-inputs.ts";
import type { Graph } from "../graph/graph.ts";
import { generate } from "../models/generation/generate.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { openScorer } from "../stats/answers/likelihood.ts";
import { EspalierError } from "../tensor/error.ts";
import { toInts } from "../tensor/numeric.ts";

/** Prompts with what a model goes on with behind each, most likely token by token, and other ways in which it could. */
export interface Continuations {
  readonly prompts: readonly Int32Array[];
  readonly own: readonly Int32Array[];
  /** For each prompt, drawn from the same model and not its own. */
  readonly others: readonly (readonly Int32Array[])[];
}

export interface ContinuationSizes {
  readonly prompts: number;
  /** Tokens of a prompt, and of what comes behind it. */
  readonly prompt: number;
  readonly length: number;
  /** Other ways for each prompt. */
  readonly others: number;
}

const usualContinuations: ContinuationSizes = { prompts: 96, prompt: 24, length: 12, others: 3 };

/** Draws that find no other way any more. */
const MOST_DRAWS = 12;

/**
 * Asks a model to go on behind the beginnings of windows. A prompt behind which it draws too few other ways is left out. Throws
 * `data` where no window is long enough.
 */
export async function continuationsOf(
  runtime: Runtime,
  graph: Graph,
  data: IndexedDataset,
  sizes: ContinuationSizes = usualContinuations,
): Promise<Continuations> {
  const prompts = await promptsOf(data, sizes);
  const options = { maxTokens: sizes.length };
  const { texts } = await generate(runtime, graph, prompts, options);
  const own = texts.map(({ tokens }) => tokens);
  const found = prompts.map((): Int32Array[] => []);
  for (let draw = 0; draw < MOST_DRAWS && found.some(({ length }) => length < sizes.others); draw++) {
    const drawn = await generate(runtime, graph, prompts, { ...options, temperature: 1, seed: draw });
    for (const [i, { tokens }] of drawn.texts.entries()) {
      const known = [own[i], ...(found[i] ?? [])].some((other) => other?.join() === tokens.join());
      if (!known && (found[i]?.length ?? 0) < sizes.others) found[i]?.push(tokens);
    }
  }
  const whole = prompts.map((_, i) => i).filter((i) => found[i]?.length === sizes.others);
  const picked = <T>(all: readonly T[]): readonly T[] => whole.flatMap((i) => all.slice(i, i + 1));
  return { prompts: picked(prompts), own: picked(own), others: picked(found) };
}

/** The share of continuations that a model writes itself, word for word, in percent. */
export async function written(runtime: Runtime, graph: Graph, { prompts, own }: Continuations): Promise<number> {
  const { texts } = await generate(runtime, graph, prompts, { maxTokens: own[0]?.length ?? 1 });
  const same = texts.filter(({ tokens }, i) => tokens.join() === own[i]?.join()).length;
  return (100 * same) / Math.max(1, prompts.length);
}

/** The share of prompts behind which a model finds the own continuation likelier than all others, in percent. */
export async function chosen(runtime: Runtime, graph: Graph, all: Continuations): Promise<number> {
  const scorer = await openScorer(runtime, graph, 1);
  const inputs = tokenInputs(graph.inputs);
  let right = 0;
  try {
    for (const [i, prompt] of all.prompts.entries()) {
      const ways = [all.own[i] ?? new Int32Array(0), ...(all.others[i] ?? [])];
      const time = prompt.length + (ways[0]?.length ?? 0);
      const tokens = Int32Array.from(ways.flatMap((way) => [...prompt, ...way]));
      const labels = new Int32Array(tokens.length).fill(-1);
      for (const [row, way] of ways.entries()) labels.set(way, row * time + prompt.length - 1);
      const lengths = new Int32Array(ways.length).fill(time);
      const batch = { inputs: inputs.feeds(tokens, lengths, time), labels, count: ways.length };
      const { nll } = await scorer.score(batch);
      const [first = Number.NaN, ...rest] = nll;
      if (rest.every((other) => first < other)) right++;
    }
  } finally {
    await scorer.release();
  }
  return (100 * right) / Math.max(1, all.prompts.length);
}

/** Beginnings of windows that are long enough. */
async function promptsOf(data: IndexedDataset, sizes: ContinuationSizes): Promise<readonly Int32Array[]> {
  const { count } = data;
  const drawn = sample(data, Math.min(count, 2 * sizes.prompts), 0);
  const prompts: Int32Array[] = [];
  for await (const { inputs, labels = new Int32Array(0), count: rows } of drawn.batches(64)) {
    const [tensor] = inputs.values();
    const time = tensor?.shape[1] ?? 0;
    const ids = tensor === undefined ? [] : toInts(tensor);
    for (let row = 0; row < rows && prompts.length < sizes.prompts; row++) {
      // What was filled up has no labels.
      const filled = labels.subarray(row * time, (row + 1) * time).findLastIndex((label) => label >= 0) + 2;
      if (filled < sizes.prompt + sizes.length) continue;
      prompts.push(Int32Array.from(ids.slice(row * time, row * time + sizes.prompt)));
    }
  }
  if (prompts.length > 0) return prompts;
  const expected = `windows of at least ${sizes.prompt + sizes.length} tokens`;
  throw new EspalierError("data", data.description, `expected ${expected}, got shorter ones.`);
}
