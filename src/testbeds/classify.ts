import type { Dataset } from "../data/dataset.ts";
import type { Graph } from "../graph/graph.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { EspalierError } from "../tensor/error.ts";
import { toFloat64 } from "../tensor/numeric.ts";

export interface Classified {
  /** Top-1, in percent. */
  readonly accuracy: number;
  /** Mean negative log-likelihood of the labels, in nats. */
  readonly nll: number;
  readonly samples: number;
}

/** How well the first output of a classifier, logits [samples, classes], names the labels. Throws `data` without labels. */
export async function classify(runtime: Runtime, graph: Graph, data: Dataset, batchSize = 250): Promise<Classified> {
  const session = await runtime.compile(graph);
  try {
    let [right, loss, samples] = [0, 0, 0];
    for await (const { inputs, labels, count } of data.batches(batchSize)) {
      const found = [...(await session.run(inputs)).values()][0];
      if (labels === undefined || found === undefined) {
        throw new EspalierError("data", data.description, "expected labelled data and a model with outputs.");
      }
      const logits = toFloat64(found);
      const classes = logits.length / count;
      for (let s = 0; s < count; s++) {
        const start = s * classes;
        const label = labels[s] ?? 0;
        let best = 0;
        let largest = Number.NEGATIVE_INFINITY;
        for (let c = 0; c < classes; c++) {
          const logit = logits[start + c] ?? 0;
          if (logit > largest) [best, largest] = [c, logit];
        }
        let sum = 0;
        for (let c = 0; c < classes; c++) sum += Math.exp((logits[start + c] ?? 0) - largest);
        if (best === label) right++;
        loss += Math.log(sum) + largest - (logits[start + label] ?? 0);
      }
      samples += count;
    }
    return { accuracy: (100 * right) / samples, nll: loss / samples, samples };
  } finally {
    await session.release();
  }
}
