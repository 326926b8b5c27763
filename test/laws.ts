import { allocateUnits, unitAllocationDefaults } from "../src/allocation/units.ts";
import type { Group } from "../src/coupling/couple.ts";
import type { Criterion } from "../src/criteria/criterion.ts";
import { unitScores } from "../src/criteria/unit-scores.ts";
import { randomInputs } from "../src/data/random-inputs.ts";
import type { Feeds, Graph } from "../src/graph/graph.ts";
import { unitMasks } from "../src/masks/units.ts";
import type { Analysis } from "../src/models/analysis.ts";
import { sizeOf } from "../src/tensor/tensor.ts";

/** Masks that remove a share of every free group. */
export async function masksOf(
  analysis: Analysis,
  criterion: Criterion<never>,
  sparsity = 0.3,
): Promise<ReadonlyMap<Group, Uint8Array>> {
  const free = analysis.coupling.groups.filter((group) => group.blocked.length === 0);
  const byParameter = new Map(analysis.matrices.map((matrix) => [matrix.parameter, matrix]));
  const scores = await unitScores(analysis.graph, free, byParameter, criterion, () => ({}));
  const target = { kind: "sparsity", sparsity } as const;
  return unitMasks(scores, allocateUnits(scores, analysis.coupling, analysis.cost, target, unitAllocationDefaults));
}

/** One batch of made-up inputs at the sizes of the analysis. */
export async function feedsOf(analysis: Analysis): Promise<Feeds> {
  const inputs = [...analysis.inputs].map(([name, { dtype, shape }]) => ({ name, dtype, dims: shape }));
  const { samples } = analysis;
  for await (const { inputs: feeds } of randomInputs(inputs, { count: samples }).batches(samples)) return feeds;
  throw new Error("no inputs");
}

/** Numbers in all constants but integers. */
export function floats(graph: Graph): number {
  let total = 0;
  for (const { dtype, shape } of graph.constants.values()) if (dtype !== "i64") total += sizeOf(shape);
  return total;
}
