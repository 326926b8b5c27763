import type { Node } from "../../graph/graph.ts";
import type { Analysis } from "../../models/analysis.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import { load } from "../../tensor/tensor.ts";

/** What a network is left with once zeros are not counted. */
export interface WorkLeft {
  /** Weights of matrices that are not zero. */
  readonly weights: number;
  /** Multiply-accumulates of a sample, without those by weights that are zero. */
  readonly macs: number;
}

/** Counts what is alive. A node with several matrices does the share of its work that is alive of all of them. */
export async function workLeft({
  graph,
  cost,
  matrices,
}: Pick<Analysis, "graph" | "cost" | "matrices">): Promise<WorkLeft> {
  const alive = new Map<string, { readonly alive: number; readonly all: number }>();
  for (const { parameter } of matrices) {
    const ref = graph.constants.get(parameter);
    if (ref === undefined || alive.has(parameter)) continue;
    const values = toFloat32(await load(ref));
    let count = 0;
    for (let i = 0; i < values.length; i++) if (values[i] !== 0) count++;
    alive.set(parameter, { alive: count, all: values.length });
  }
  const byNode = new Map<Node, { alive: number; all: number }>();
  for (const { node, parameter } of matrices) {
    const [sum, own] = [byNode.get(node) ?? { alive: 0, all: 0 }, alive.get(parameter)];
    byNode.set(node, { alive: sum.alive + (own?.alive ?? 0), all: sum.all + (own?.all ?? 0) });
  }
  let macs = 0;
  for (const part of cost.byNode()) {
    const held = byNode.get(part.node);
    macs += held === undefined || held.all === 0 ? part.macs : (part.macs * held.alive) / held.all;
  }
  return { weights: [...alive.values()].reduce((sum, { alive: count }) => sum + count, 0), macs };
}
