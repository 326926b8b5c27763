import type { Graph, Node } from "./graph.ts";

/** Outer values that the subgraphs of a node read, each once, in order of first use; empty for most nodes. */
export function captures(node: Node): readonly string[] {
  let found: Set<string> | undefined;
  for (const attribute of node.attributes.values()) {
    if (attribute.kind !== "graph") continue;
    found ??= new Set();
    for (const name of freeNames(attribute.value)) found.add(name);
  }
  return found === undefined ? none : [...found];
}

const none: readonly string[] = [];

/** Names that a graph reads and does not define itself, each once: what a subgraph takes from around it. */
export function freeNames(graph: Graph): ReadonlySet<string> {
  const local = localNames(graph);
  const free = new Set<string>();
  const read = (name: string) => {
    if (name !== "" && !local.has(name)) free.add(name);
  };
  for (const node of graph.nodes) {
    for (const name of node.inputs) read(name);
    for (const name of captures(node)) read(name);
  }
  for (const output of graph.outputs) read(output.name);
  return free;
}

/** Names that a graph defines: inputs, constants and outputs of nodes; not those of its subgraphs. */
export function localNames(graph: Graph): Set<string> {
  const names = new Set<string>(graph.constants.keys());
  for (const input of graph.inputs) names.add(input.name);
  for (const node of graph.nodes) for (const name of node.outputs) if (name !== "") names.add(name);
  return names;
}

/** Every name that occurs in a graph or anywhere inside it: what a fresh name must avoid. */
export function allNames(graph: Graph, into: Set<string> = new Set()): Set<string> {
  for (const name of graph.constants.keys()) into.add(name);
  for (const input of graph.inputs) into.add(input.name);
  for (const output of graph.outputs) into.add(output.name);
  for (const node of graph.nodes) {
    into.add(node.name);
    for (const name of node.inputs) into.add(name);
    for (const name of node.outputs) into.add(name);
    for (const attribute of node.attributes.values()) if (attribute.kind === "graph") allNames(attribute.value, into);
  }
  return into;
}
