import { formulaContext } from "../autodiff/formulas.ts";
import type { Algebra } from "../graph/algebra/algebra.ts";
import type { Node } from "../graph/graph.ts";
import { opSpec } from "../ops/table.ts";

/** Multiply-accumulates of nodes at the sizes of the graph, by the same rules as the cost of a model. */
export function macsOf(g: Algebra, nodes: readonly Node[]): number {
  let total = 0;
  for (const node of nodes) total += opSpec(node.domain, node.op)?.macs?.(formulaContext(g, node)) ?? 0;
  return total;
}
