import { captures } from "../captures.ts";
import type { Attribute, Graph, Node } from "../graph.ts";

/**
 * Drops nodes, constants and declared types that no output needs, inside subgraphs too.
 * Graph inputs stay, used or not: they are the interface. Gives the same object when nothing is dead.
 */
export function removeDeadCode(graph: Graph): Graph {
  // Subgraphs first: what is dead in them may be the only reader of a value here.
  let changed = false;
  const cleaned = graph.nodes.map((node) => {
    const clean = cleanSubgraphs(node);
    changed ||= clean !== node;
    return clean;
  });
  const { needed, live } = liveNodes(cleaned, graph);
  changed ||= live.length !== graph.nodes.length;
  const constants = keepEntries(graph.constants, (name) => needed.has(name));
  const present = new Set(graph.inputs.map((input) => input.name));
  for (const node of live) for (const name of node.outputs) present.add(name);
  const valueInfo = keepEntries(graph.valueInfo, (name) => present.has(name) || constants.has(name));
  if (!changed && constants === graph.constants && valueInfo === graph.valueInfo) return graph;
  return { ...graph, nodes: changed ? live : graph.nodes, constants, valueInfo };
}

function liveNodes(nodes: readonly Node[], graph: Graph): { needed: ReadonlySet<string>; live: readonly Node[] } {
  const producer = new Map<string, Node>();
  for (const node of nodes) for (const name of node.outputs) producer.set(name, node);
  const needed = new Set<string>();
  const live = new Set<Node>();
  const pending = graph.outputs.map((output) => output.name);
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name === "" || needed.has(name)) continue;
    needed.add(name);
    const node = producer.get(name);
    if (node === undefined || live.has(node)) continue;
    live.add(node);
    for (const input of node.inputs) pending.push(input);
    for (const captured of captures(node)) pending.push(captured);
  }
  return { needed, live: nodes.filter((node) => live.has(node)) };
}

function cleanSubgraphs(node: Node): Node {
  let attributes: Map<string, Attribute> | undefined;
  for (const [name, attribute] of node.attributes) {
    if (attribute.kind !== "graph") continue;
    const value = removeDeadCode(attribute.value);
    if (value === attribute.value) continue;
    attributes ??= new Map(node.attributes);
    attributes.set(name, { kind: "graph", value });
  }
  return attributes === undefined ? node : { ...node, attributes };
}

function keepEntries<T>(map: ReadonlyMap<string, T>, keep: (name: string) => boolean): ReadonlyMap<string, T> {
  const kept = new Map<string, T>();
  for (const [name, value] of map) if (keep(name)) kept.set(name, value);
  return kept.size === map.size ? map : kept;
}
