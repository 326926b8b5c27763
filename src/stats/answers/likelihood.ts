import type { Batch, Dataset } from "../../data/dataset.ts";
import { int } from "../../graph/attributes.ts";
import type { Draft } from "../../graph/draft.ts";
import { edit } from "../../graph/edit.ts";
import type { Feeds, Graph } from "../../graph/graph.ts";
import type { Carry, Runtime, Session } from "../../runtime/runtime.ts";
import { onnxNumberOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, fromInts, toFloat64 } from "../../tensor/numeric.ts";
import { type Job, step } from "../../tensor/progress.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { sumLast } from "../taps/unfold.ts";

/** What a model says of the labels of data, summed over all that count. */
export interface Likelihood {
  /** Σ −log p(label), in nats. */
  readonly nll: number;
  /** Labels that are the most likely class. */
  readonly hits: number;
  /** Labels that count. */
  readonly count: number;
}

/** The same of each sample of a batch. */
export interface SampleLikelihoods {
  readonly nll: Float64Array;
  readonly hits: Float64Array;
  readonly count: Float64Array;
}

export interface LikelihoodOptions extends Job {
  /** Samples of a run at most; fewer where logits of a large vocabulary would take too much memory. */
  readonly batchSize: number;
}

/** Bytes that the logits of one run may have; log-probabilities take as much again. */
const LOGIT_BYTES = 1 << 28;
/** Classes of a model that does not tell how many it has. */
const UNTOLD = 65_536;

/** How likely a model, logits [batch, .., classes], finds the labels of data. Throws `data` without labels. */
export async function likelihood(
  runtime: Runtime,
  graph: Graph,
  data: Dataset,
  options: LikelihoodOptions,
): Promise<Likelihood> {
  const sums = { nll: 0, hits: 0, count: 0 };
  const scorer = await openScorer(runtime, graph, data.labelShape?.length ?? 0);
  let done = 0;
  try {
    for await (const batch of data.batches(runSize(graph, data, options.batchSize))) {
      step(options, "evaluate", done, data.count);
      const found = await scorer.score(batch);
      for (let i = 0; i < batch.count; i++) {
        sums.nll += found.nll[i] ?? 0;
        sums.hits += found.hits[i] ?? 0;
        sums.count += found.count[i] ?? 0;
      }
      done += batch.count;
    }
    step(options, "evaluate", done, data.count);
  } finally {
    await scorer.release();
  }
  if (sums.count > 0) return sums;
  throw new EspalierError("data", data.description, "expected labels that count, got none.");
}

/** Samples of a run: as many as asked, as far as their logits fit. */
export function runSize(graph: Graph, data: Dataset, batchSize: number): number {
  const classes = graph.outputs[0]?.dims?.at(-1);
  const positions = (data.labelShape ?? []).reduce((product, n) => product * n, 1);
  const bytes = 4 * positions * (typeof classes === "number" ? classes : UNTOLD);
  return Math.max(1, Math.min(batchSize, Math.floor(LOGIT_BYTES / bytes)));
}

/** A compiled model that tells how likely it finds labels; logits stay inside the runtime. */
export interface Scorer {
  score(batch: Batch): Promise<SampleLikelihoods>;
  release(): Promise<void>;
}

/** Compiles a model with the sums behind its first output. `rank`: axes of the labels of a sample. Throws `request`. */
export async function openScorer(runtime: Runtime, graph: Graph, rank: number): Promise<Scorer> {
  const draft = edit(graph);
  const opset = graph.opsets.get("") ?? 1;
  const ends = writeLikelihood(draft, opset, logitsOf(graph), rank);
  const session = await runtime.compile(withOutputs(draft.finish(), [ends.logLikelihood, ends.hits]));
  return { score: (batch) => scored(session, graph, ends, batch), release: () => session.release() };
}

/** Names of what `writeLikelihood` added to a graph. */
export interface LikelihoodEnds {
  readonly labels: string;
  readonly counted: string;
  /** Σ log p(label) and Σ [label is most likely] over what counts, each [batch, 1]. */
  readonly logLikelihood: string;
  readonly hits: string;
  /** log softmax of the logits, f32. */
  readonly logProbabilities: string;
}

/** Adds the likelihood of labels, fed as i64 [batch, ..] with a weight f32 for each, to a model. logits: [batch, .., classes]. */
export function writeLikelihood(draft: Draft, opset: number, logits: string, rank: number): LikelihoodEnds {
  if (opset < 11) {
    const message = `expected operator set 11 or later, got ${opset}.`;
    throw new EspalierError("request", "likelihood", message, "Convert the model with a newer opset.");
  }
  const dims = ["batch", ...Array.from({ length: rank }, (_, i) => `label ${i}`)];
  const labels = draft.input(draft.fresh("label"), "i64", dims);
  const counted = draft.input(draft.fresh("counted"), "f32", dims);
  const kept = draft.int64([...dims.map(() => 0), 1]);
  const flat = draft.int64([0, -1]);
  const float = draft.op("Cast", [logits], { to: int(onnxNumberOf("f32")) });
  const logProbabilities = draft.op("LogSoftmax", [float], { axis: int(-1) });
  const index = draft.op("Reshape", [labels, kept]);
  const picked = draft.op("GatherElements", [logProbabilities, index], { axis: int(-1) });
  const weight = draft.op("Reshape", [counted, flat]);
  const weighted = (x: string): string => draft.op("Mul", [draft.op("Reshape", [x, flat]), weight]);
  const likeliest = draft.op("ArgMax", [float], { axis: int(-1), keepdims: int(0) });
  const hit = draft.op("Cast", [draft.op("Equal", [likeliest, labels])], { to: int(onnxNumberOf("f32")) });
  return {
    labels,
    counted,
    logProbabilities,
    logLikelihood: sumLast(draft, opset, weighted(picked)),
    hits: sumLast(draft, opset, weighted(hit)),
  };
}

/** The name of a model's first output. */
export function logitsOf(graph: Graph): string {
  const name = graph.outputs[0]?.name;
  if (name !== undefined) return name;
  throw new EspalierError("request", `graph "${graph.name}"`, "expected a first output of logits, got no output.");
}

/** The graph with only these outputs. */
export function withOutputs(graph: Graph, names: readonly string[]): Graph {
  return { ...graph, outputs: names.map((name) => ({ name, dtype: null })) };
}

/** What a run is fed: the inputs of the model, labels that exist, and 1 where a label counts. Throws `data`. */
export function likelihoodFeeds(
  graph: Graph,
  ends: LikelihoodEnds,
  batch: Batch,
): { readonly feeds: Feeds; readonly count: Float64Array } {
  const { labels } = batch;
  if (labels === undefined) throw new EspalierError("data", "labels", "expected labels, got none.");
  const fed = new Set(graph.inputs.map(({ name }) => name));
  const each = labels.length / batch.count;
  const shape = each === 1 ? [batch.count] : [batch.count, each];
  const [ids, weights] = [new Int32Array(labels.length), new Float32Array(labels.length)];
  const count = new Float64Array(batch.count);
  for (const [i, label] of labels.entries()) {
    if (label < 0) continue;
    ids[i] = label;
    weights[i] = 1;
    const sample = Math.floor(i / each);
    count[sample] = (count[sample] ?? 0) + 1;
  }
  const feeds = new Map<string, HostTensor>([...batch.inputs].filter(([name]) => fed.has(name)));
  feeds.set(ends.labels, fromInts("i64", shape, ids));
  feeds.set(ends.counted, float32Tensor(shape, weights));
  return { feeds, count };
}

/** Runs a graph that `writeLikelihood` extended. */
export async function scored(
  session: Session,
  graph: Graph,
  ends: LikelihoodEnds,
  batch: Batch,
  carry?: Carry,
): Promise<SampleLikelihoods & { readonly values: ReadonlyMap<string, HostTensor> }> {
  const { feeds, count } = likelihoodFeeds(graph, ends, batch);
  const values = await session.run(feeds, undefined, carry);
  const sums = (name: string): Float64Array => {
    const found = values.get(name);
    return found === undefined ? new Float64Array(batch.count) : toFloat64(found);
  };
  const nll = sums(ends.logLikelihood).map((x) => -x);
  const wrong = nll.findIndex((x) => !Number.isFinite(x));
  if (wrong >= 0) {
    const message = `expected finite likelihoods, got ${nll[wrong]} for sample ${wrong} of a batch.`;
    throw new EspalierError("runtime", `output "${logitsOf(graph)}"`, message, "The model's numbers overflow.");
  }
  return { nll, hits: sums(ends.hits), count, values };
}
