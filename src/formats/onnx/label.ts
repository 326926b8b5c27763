import type { Node } from "../../graph/graph.ts";

/** How messages name a node: its name, or what it produces, and its operator. */
export function nodeLabel(node: Node): string {
  return `${node.name || node.outputs.find((output) => output !== "") || "node"} (${node.op})`;
}
