import type { Attribute, Graph, Node } from "../../graph/graph.ts";
import { EspalierError } from "../../tensor/error.ts";
import { nodeLabel, quoted } from "./label.ts";

/** Names that are defined in a graph, innermost graph first. */
type Scopes = readonly ReadonlySet<string>[];

/**
 * The graph with its nodes after what they read, subgraphs included; a graph in order is left as it is.
 * Throws `model` where a value is produced twice or not at all, and where nodes wait for each other.
 */
export function arrange(graph: Graph): Graph {
  return arrangeInside(graph, []).graph;
}

function arrangeInside(graph: Graph, outer: Scopes): { graph: Graph; captured: Set<string> } {
  const defined = definitions(graph);
  const scopes = [defined, ...outer];
  const captured = new Set<string>();
  const use = (name: string, where: () => string) => {
    if (defined.has(name)) return;
    if (!outer.some((scope) => scope.has(name))) {
      throw new EspalierError(
        "model",
        where(),
        `expected value ${quoted(name)} from a node, an initializer or an input, got none.`,
        "The file is damaged or was cut out of a larger model.",
      );
    }
    captured.add(name);
  };
  const reads: (readonly string[])[] = [];
  const nodes = graph.nodes.map((node) => {
    const names = new Set(node.inputs);
    names.delete("");
    const arranged = arrangeSubgraphs(node, scopes, names);
    for (const name of names) use(name, () => nodeLabel(node));
    reads.push([...names]);
    return arranged;
  });
  for (const { name } of graph.outputs) use(name, () => `graph ${quoted(graph.name)}`);
  const order = topologicalOrder(nodes, reads);
  return { graph: { ...graph, nodes: order }, captured };
}

function arrangeSubgraphs(node: Node, scopes: Scopes, names: Set<string>): Node {
  let changed = false;
  const attributes = new Map<string, Attribute>();
  for (const [key, attribute] of node.attributes) {
    if (attribute.kind !== "graph") attributes.set(key, attribute);
    else {
      changed = true;
      const inner = arrangeInside(attribute.value, scopes);
      for (const name of inner.captured) names.add(name);
      attributes.set(key, { ...attribute, value: inner.graph });
    }
  }
  return changed ? { ...node, attributes } : node;
}

function definitions(graph: Graph): Set<string> {
  const defined = new Set<string>();
  const define = (name: string, where: () => string) => {
    if (defined.has(name)) {
      throw new EspalierError("model", where(), `expected a new name for its value, got ${quoted(name)} again.`);
    }
    defined.add(name);
  };
  for (const { name } of graph.inputs) define(name, () => `input ${quoted(name)}`);
  for (const name of graph.constants.keys()) define(name, () => `initializer ${quoted(name)}`);
  for (const node of graph.nodes) {
    for (const output of node.outputs) if (output !== "") define(output, () => nodeLabel(node));
  }
  return defined;
}

/** Depth first, so that nodes which are in order stay in order. */
function topologicalOrder(nodes: readonly Node[], reads: readonly (readonly string[])[]): readonly Node[] {
  const producer = new Map<string, number>();
  for (const [i, node] of nodes.entries())
    for (const output of node.outputs) if (output !== "") producer.set(output, i);
  const inOrder = reads.every((names, i) => names.every((name) => (producer.get(name) ?? -1) < i));
  if (inOrder) return nodes;
  const order: Node[] = [];
  // 0: not seen, 1: waits for its inputs, 2: placed.
  const state = new Uint8Array(nodes.length);
  for (let root = 0; root < nodes.length; root++) {
    const stack = [{ index: root, next: 0 }];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const { index } = top;
      if (state[index] === 2) {
        stack.pop();
        continue;
      }
      state[index] = 1;
      const name = reads[index]?.[top.next++];
      if (name === undefined) {
        const node = nodes[index];
        if (node !== undefined) order.push(node);
        state[index] = 2;
        stack.pop();
        continue;
      }
      const from = producer.get(name);
      if (from === undefined || state[from] === 2) continue;
      if (state[from] === 1)
        throw cycle(
          nodes,
          stack.map((frame) => frame.index),
          from,
        );
      stack.push({ index: from, next: 0 });
    }
  }
  return order;
}

function cycle(nodes: readonly Node[], path: readonly number[], from: number): EspalierError {
  const labels = path
    .slice(path.indexOf(from))
    .reverse()
    .flatMap((i) => {
      const node = nodes[i];
      return node === undefined ? [] : [nodeLabel(node)];
    });
  const shown = labels.length > 5 ? [...labels.slice(0, 5), `${labels.length - 5} more`] : labels;
  return new EspalierError(
    "model",
    labels[0] ?? "graph",
    `expected nodes in an order, got a cycle of ${shown.join(", ")}.`,
    "The file is damaged; export it again.",
  );
}
