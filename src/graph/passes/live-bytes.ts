import { byteLengthOf } from "../../tensor/dtype.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import type { Graph } from "../graph.ts";
import type { Types } from "../subgraph.ts";

/**
 * The most bytes that values of a graph take at once when its nodes run in their order and each value is freed behind its last
 * reader. Constants and inputs do not count, nor do values of unknown type; outputs stay to the end.
 */
export function liveBytes(graph: Graph, types: Types): number {
  const last = new Map<string, number>();
  for (const [i, node] of graph.nodes.entries()) for (const name of node.inputs) last.set(name, i);
  for (const { name } of graph.outputs) last.set(name, graph.nodes.length);
  const bytes = (name: string): number => {
    const type = types.get(name);
    return type === undefined ? 0 : byteLengthOf(type.dtype, sizeOf(type.shape));
  };
  const made = new Set<string>();
  let live = 0;
  let most = 0;
  for (const [i, node] of graph.nodes.entries()) {
    for (const name of node.outputs) {
      live += bytes(name);
      made.add(name);
    }
    most = Math.max(most, live);
    for (const name of new Set([...node.inputs, ...node.outputs])) {
      const end = last.get(name) ?? i;
      if (end !== i || !made.delete(name)) continue;
      live -= bytes(name);
    }
  }
  return most;
}
