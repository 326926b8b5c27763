import type { IndexedDataset } from "../../data/dataset.ts";
import { randomInputs } from "../../data/random-inputs.ts";
import type { Feeds } from "../../graph/graph.ts";
import type { Analysis } from "../../models/analysis.ts";

/** Inputs on which the law is checked: made-up ones, and a few samples of the calibration data where there is any. */
export async function lawFeeds(
  analysis: Analysis,
  calibration: IndexedDataset | null,
  seed: number,
): Promise<readonly Feeds[]> {
  const inputs = [...analysis.inputs].map(([name, { dtype, shape }]) => ({ name, dtype, dims: shape }));
  const feeds: Feeds[] = [];
  for await (const batch of randomInputs(inputs, { seed, count: analysis.samples }).batches(analysis.samples)) {
    feeds.push(batch.inputs);
    break;
  }
  if (calibration !== null) {
    for await (const batch of calibration.batches(analysis.samples)) {
      if (batch.count === analysis.samples) feeds.push(batch.inputs);
      break;
    }
  }
  return feeds;
}
