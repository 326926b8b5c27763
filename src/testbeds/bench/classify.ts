import type { Dataset } from "../../data/dataset.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { likelihood } from "../../stats/answers/likelihood.ts";

export interface Classified {
  /** Top-1, in percent. */
  readonly accuracy: number;
  /** Mean negative log-likelihood of the labels, in nats. */
  readonly nll: number;
  /** Labels that count: samples, or tokens of a text. */
  readonly samples: number;
}

/** How well the first output of a model, logits [samples, .., classes], names the labels. Throws `data` without labels. */
export async function classify(runtime: Runtime, graph: Graph, data: Dataset, batchSize = 250): Promise<Classified> {
  const { nll, hits, count } = await likelihood(runtime, graph, data, { batchSize });
  return { accuracy: (100 * hits) / count, nll: nll / count, samples: count };
}
