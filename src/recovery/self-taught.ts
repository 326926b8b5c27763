import { type IndexedDataset, indexed } from "../data/dataset.ts";
import { tokenInputs } from "../data/text/token-inputs.ts";
import type { Graph } from "../graph/graph.ts";
import type { Drawing } from "../models/generation/draw-token.ts";
import { generate } from "../models/generation/generate.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { EspalierError } from "../tensor/error.ts";
import { toInts } from "../tensor/numeric.ts";
import type { Job } from "../tensor/progress.ts";
import type { Recovery } from "./recovery.ts";
import { type RetrainOptions, retrain } from "./retrain.ts";

/** Which answers a model learns behind prompts. */
export interface SelfTaughtOptions extends Drawing {
  /** What the original itself goes on with, or what stands in the text there. */
  readonly answers?: "own" | "text";
  /** Tokens of a prompt, and of an answer. */
  readonly prompt?: number;
  readonly answer?: number;
  /** Prompts of each window of text, evenly spread over it. */
  readonly perWindow?: number;
  readonly training?: Partial<RetrainOptions>;
}

/** Texts that the original goes on with at a time. */
const RUN = 64;

/**
 * Trains the pruned model on answers that the original gives to prompts, the beginnings of stretches of the training text; only
 * tokens of answers count. The original's own answers are drawn at temperature 0.7, top-p 0.95 unless told.
 */
export function selfTaught(options: SelfTaughtOptions = {}): Recovery {
  const { answers = "own", training = {} } = options;
  const id = answers === "own" ? "self-taught" : "prompted";
  const trained = retrain(id, { answers: 0, features: 0, labels: 1, temperature: 1, ...training });
  return {
    id,
    needsData: true,
    tokens: true,
    apply: async (context) => {
      const { original, training: data, runtime, seed = 0, job } = context;
      if (data === null || data === undefined) {
        const hint = "Give text with --train or --calib.";
        throw new EspalierError("request", `recovery ${id}`, "expected text to take prompts from, got none.", hint);
      }
      const answered = await answeredPrompts(runtime, original.graph, data, { ...options, seed, job });
      return trained.apply({ ...context, training: answered });
    },
  };
}

/**
 * Prompts with answers as samples of one length, of which the answers have labels. Throws `data` where windows are shorter than
 * that.
 */
export async function answeredPrompts(
  runtime: Runtime,
  graph: Graph,
  data: IndexedDataset,
  options: Omit<SelfTaughtOptions, "training"> & { readonly seed: number; readonly job: Job },
): Promise<IndexedDataset> {
  const { answers = "own", prompt = 32, answer = 64, perWindow = 1, seed, job } = options;
  const { temperature = 0.7, topP = 0.95, topK } = options;
  const inputs = tokenInputs(graph.inputs);
  const stretches = await stretchesOf(data, prompt + answer, perWindow);
  const rows: Int32Array[] = [];
  for (let start = 0; start < stretches.length; start += RUN) {
    const part = stretches.slice(start, start + RUN);
    if (answers === "text") {
      rows.push(...part);
      continue;
    }
    const prompts = part.map((row, i) => ({ tokens: row.slice(0, prompt), seed: seed + start + i }));
    const drawing = { temperature, topP, ...(topK === undefined ? {} : { topK }) };
    const { texts } = await generate(runtime, graph, prompts, { ...job, ...drawing, maxTokens: answer });
    for (const [i, { tokens }] of texts.entries()) {
      rows.push(Int32Array.of(...(prompts[i]?.tokens ?? []), ...tokens));
    }
  }
  const time = prompt + answer;
  return indexed({
    description: `${data.description}: ${rows.length} prompts of ${prompt} tokens, ${answers === "own" ? "answered by the original" : "with what follows them"}`,
    count: rows.length,
    labelled: true,
    labelShape: [time],
    features: inputs.features(time),
    async gather(positions) {
      const tokens = new Int32Array(positions.length * time);
      const labels = new Int32Array(positions.length * time).fill(-1);
      for (const [i, position] of positions.entries()) {
        const row = rows[position] ?? new Int32Array(0);
        tokens.set(row, i * time);
        labels.set(row.subarray(prompt), i * time + prompt - 1);
      }
      const lengths = new Int32Array(positions.length).fill(time);
      return { inputs: inputs.feeds(tokens, lengths, time), labels, count: positions.length };
    },
  });
}

/** Stretches of tokens, as many of each window. */
async function stretchesOf(data: IndexedDataset, length: number, perWindow: number): Promise<readonly Int32Array[]> {
  const found: Int32Array[] = [];
  for await (const { inputs, count } of data.batches(RUN)) {
    const [tensor] = inputs.values();
    const time = tensor?.shape[1] ?? 0;
    if (tensor === undefined || tensor.shape.length !== 2 || time < length) {
      const message = `expected windows of at least ${length} tokens, a prompt and its answer, got ${time}.`;
      throw new EspalierError("data", data.description, message, "Give a longer --window.");
    }
    const ids = Int32Array.from(toInts(tensor));
    for (let row = 0; row < count; row++) {
      for (let k = 0; k < perWindow; k++) {
        const at = row * time + Math.floor(((time - length) * k) / Math.max(1, perWindow - 1));
        found.push(ids.slice(at, at + length));
      }
    }
  }
  return found;
}
