import { randomInputs } from "../../data/random-inputs.ts";
import type { Feeds } from "../../graph/graph.ts";
import type { Analysis } from "../../models/analysis.ts";

/** Made-up inputs of a batch; a batch that the file fixes stays. */
export async function latencyFeeds(analysis: Analysis, batch: number): Promise<Feeds> {
  const inputs = [...analysis.inputs].map(([name, { dtype, shape }]) => ({
    name,
    dtype,
    dims: shape.length === 0 ? [] : [null, ...shape.slice(1)],
  }));
  const fixed = analysis.facts.otherShapes.size === 0 ? analysis.samples : batch;
  for await (const { inputs: feeds } of randomInputs(inputs, { count: fixed }).batches(fixed)) return feeds;
  return new Map();
}
