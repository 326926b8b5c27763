import { allNames } from "../graph/captures.ts";
import type { Graph, Node } from "../graph/graph.ts";
import { Names } from "../graph/names.ts";
import { renameAll } from "../graph/rename.ts";

/** The original and the pruned graph in one, so that both can be compared inside the runtime. */
export interface Beside {
  readonly graph: Graph;
  /** The name of an original's value in it; the pruned graph's values keep theirs. */
  original(value: string): string;
}

/** Puts the original beside the pruned graph: same inputs, nodes interleaved so that a prefix is a prefix of both. */
export function beside(original: Graph, pruned: Graph): Beside {
  const names = new Names(allNames(pruned));
  const fed = new Set(original.inputs.map(({ name }) => name));
  const renames = new Map<string, string>();
  const rename = (name: string): void => {
    if (name !== "" && !fed.has(name)) renames.set(name, names.fresh(`original/${name}`));
  };
  for (const name of original.constants.keys()) rename(name);
  for (const node of original.nodes) for (const name of node.outputs) rename(name);
  const renamed = renameAll({ ...original, valueInfo: new Map() }, renames, (prefix) => names.fresh(prefix));
  const places = new Map<string, number>();
  for (const [index, node] of original.nodes.entries()) for (const name of node.outputs) places.set(name, index);
  const nodes: Node[] = [];
  let next = 0;
  const until = (end: number): void => {
    while (next < end) {
      const node = renamed.nodes[next++];
      if (node !== undefined) nodes.push({ ...node, name: "" });
    }
  };
  for (const node of pruned.nodes) {
    until(Math.max(next, ...node.outputs.map((name) => (places.get(name) ?? -1) + 1)));
    nodes.push(node);
  }
  until(renamed.nodes.length);
  return {
    graph: {
      ...pruned,
      nodes,
      constants: new Map([...renamed.constants, ...pruned.constants]),
      outputs: [...pruned.outputs, ...renamed.outputs],
      valueInfo: new Map(),
    },
    original: (value) => renames.get(value) ?? value,
  };
}
