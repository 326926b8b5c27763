import type { Node } from "../../graph/graph.ts";

/** How messages name a node: its name, or what it produces, and its operator. */
export function nodeLabel(node: Node): string {
  const name = node.name || node.outputs.find((output) => output !== "") || "node";
  return `${printable(name)} (${printable(node.op)})`;
}

/** A name of a file in quotes: control characters escaped, cut to a length that a message can bear. */
export function quoted(name: string): string {
  return `"${printable(name)}"`;
}

function printable(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name).slice(1, -1);
}
