import type { Dataset } from "../../data/dataset.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { accuracy, type EvaluationOptions, evaluatePair, type Fidelity } from "./fidelity.ts";
import { likelihood } from "./likelihood.ts";
import { likelihoodPair } from "./likelihood-pair.ts";

/** What labels say of a model. */
export interface Judgement {
  /** "top-1 accuracy", a share from 0 to 1, "perplexity", or "bits per byte" where tokens differ. */
  readonly name: string;
  readonly value: number;
  /** Samples, or for perplexity tokens. */
  readonly n: number;
}

/** The same of two models on the same labels. */
export interface Metric extends Omit<Judgement, "value"> {
  readonly before: number;
  readonly after: number;
}

/** True where samples have a label for each of their positions. */
function isSequence({ labelled, labelShape = [] }: Dataset): boolean {
  return labelled && labelShape.length > 0;
}

/**
 * Perplexity, e to the mean of −log p, where every position has a label (the next token of a text); accuracy where every
 * sample has one; null without labels.
 */
export async function judge(
  runtime: Runtime,
  graph: Graph,
  data: Dataset,
  options: EvaluationOptions,
): Promise<Judgement | null> {
  if (!data.labelled) return null;
  if (!isSequence(data)) return { name: "top-1 accuracy", ...(await accuracy(runtime, graph, data, options)) };
  const { nll, count } = await likelihood(runtime, graph, data, options);
  return { name: "perplexity", value: Math.exp(nll / count), n: count };
}

/** The same of both models on one walk over the data, and how near their answers are. */
export async function judgePair(
  runtime: Runtime,
  original: Graph,
  pruned: Graph,
  data: Dataset,
  options: EvaluationOptions,
): Promise<{ readonly fidelity: Fidelity | null; readonly metric: Metric | null }> {
  if (isSequence(data)) {
    const { before, after, fidelity } = await likelihoodPair(runtime, original, pruned, data, options);
    const of = ({ nll, count }: typeof before): number => Math.exp(nll / count);
    return { fidelity, metric: { name: "perplexity", before: of(before), after: of(after), n: after.count } };
  }
  const { fidelity, accuracy: found } = await evaluatePair(runtime, original, pruned, data, options);
  return { fidelity, metric: found === null ? null : { name: "top-1 accuracy", ...found } };
}
