import { captures } from "./captures.ts";
import type { Graph, Node } from "./graph.ts";

/** Where a value comes from: output `index` of `graph.nodes[nodeIndex]`. */
export interface Producer {
  readonly node: Node;
  readonly nodeIndex: number;
  readonly index: number;
}

/** Where a value goes: input `input` of `graph.nodes[nodeIndex]`; -1 when a subgraph of the node reads it. */
export interface Consumer {
  readonly node: Node;
  readonly nodeIndex: number;
  readonly input: number;
}

/** Who makes and who reads each value of one graph. Inputs and constants have no producer. */
export interface UseDef {
  producer(value: string): Producer | undefined;
  consumers(value: string): readonly Consumer[];
  isOutput(value: string): boolean;
}

/** Indexes a graph in one pass. The index belongs to this graph: a rewritten graph needs its own. */
export function useDef(graph: Graph): UseDef {
  const producers = new Map<string, Producer>();
  const consumers = new Map<string, Consumer[]>();
  const outputs = new Set(graph.outputs.map((output) => output.name));
  const use = (value: string, consumer: Consumer) => {
    if (value === "") return;
    const known = consumers.get(value);
    if (known === undefined) consumers.set(value, [consumer]);
    else known.push(consumer);
  };
  for (const [nodeIndex, node] of graph.nodes.entries()) {
    for (const [input, value] of node.inputs.entries()) use(value, { node, nodeIndex, input });
    for (const value of captures(node)) use(value, { node, nodeIndex, input: -1 });
    for (const [index, value] of node.outputs.entries()) {
      if (value !== "") producers.set(value, { node, nodeIndex, index });
    }
  }
  return {
    producer: (value) => producers.get(value),
    consumers: (value) => consumers.get(value) ?? [],
    isOutput: (value) => outputs.has(value),
  };
}
