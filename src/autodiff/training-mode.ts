import type { Algebra, Value } from "../graph/algebra/algebra.ts";
import type { Node } from "../graph/graph.ts";
import { opSpec } from "../ops/table.ts";
import { formulaContext } from "./formulas.ts";

/**
 * Rewrites the nodes that normalise with running statistics: they use those of the batch. Gives what each running
 * statistic, by the name of its constant, becomes after the step. Fits `prepare` of a train step. `of` chooses nodes.
 */
export function trainingMode(g: Algebra, of: (node: Node) => boolean = () => true): ReadonlyMap<string, Value> {
  const next = new Map<string, Value>();
  for (const node of g.draft.nodes()) {
    const train = opSpec(node.domain, node.op)?.roles?.train;
    if (train === undefined || !of(node)) continue;
    const { outputs, statistics } = train(formulaContext(g, node));
    const running = [...statistics].map(([index, step]) => {
      const name = node.inputs[index] ?? "";
      // Nodes that share a statistic move it one after the other.
      return [name, step(next.get(name) ?? g.of(name))] as const;
    });
    for (const [name, value] of running) next.set(name, value);
    g.draft.remove(node);
    for (const [index, name] of node.outputs.entries()) {
      const value = outputs[index];
      if (name !== "" && value !== undefined) g.draft.replaceUses(name, value.name);
    }
  }
  return next;
}
