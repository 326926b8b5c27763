import { type HostTensor, sizeOf } from "../../tensor/tensor.ts";
import { captures } from "../captures.ts";
import { edit } from "../edit.ts";
import type { Graph, Node } from "../graph.ts";
import { extract, type Types } from "../subgraph.ts";
import { removeDeadCode } from "./dead-code.ts";

/** Runs a graph without inputs and gives the values of its outputs `names`. */
export type Evaluate = (graph: Graph, names: readonly string[]) => Promise<ReadonlyMap<string, HostTensor>>;

export interface FoldOptions {
  /**
   * Most elements of a folded value, and of a constant that folding reads: a Transpose of a large weight stays a node.
   * Default: no limit.
   */
  readonly limit?: number;
  /** With `limit`: only values known to fit are computed, so that no chain of operators can grow without bound. */
  readonly types?: Types;
  /** Nodes that may be folded; default: all. */
  readonly select?: (node: Node) => boolean;
}

/**
 * Computes what depends on constants alone, in one call of `evaluate`, and puts the results in its place.
 * Graph outputs stay the outputs of nodes.
 */
export async function foldConstants(original: Graph, evaluate: Evaluate, options: FoldOptions = {}): Promise<Graph> {
  // First, since a dead reader would make a node look needed, and a dead part of a branch look dependent on an input.
  const graph = removeDeadCode(original);
  const constant = new Set(constantNodes(graph, options));
  const outputs = new Set(graph.outputs.map((output) => output.name));
  const computed = new Set<string>();
  for (const node of constant)
    for (const name of node.outputs) if (name !== "" && !outputs.has(name)) computed.add(name);
  const wanted = new Set<string>();
  for (const node of graph.nodes) {
    if (constant.has(node) && !node.outputs.some((name) => outputs.has(name))) continue;
    for (const name of node.inputs) if (computed.has(name)) wanted.add(name);
    for (const name of captures(node)) if (computed.has(name)) wanted.add(name);
  }
  if (wanted.size === 0) return graph;
  const names = [...wanted];
  const part = extract(graph, names, options.types === undefined ? {} : { types: options.types });
  const results = await evaluate(part, names);
  const draft = edit(graph);
  for (const [name, value] of results) {
    if (!wanted.has(name) || sizeOf(value.shape) > (options.limit ?? Infinity)) continue;
    const node = draft.producer(name);
    if (node === undefined) continue;
    // The node gives up the name and is dead, unless another of its outputs is needed.
    draft.replace(node, { ...node, outputs: node.outputs.map((o) => (o === name ? draft.fresh(name) : o)) });
    draft.setConstant(name, value);
  }
  return removeDeadCode(draft.finish());
}

/** The nodes that depend on constants alone and give the same result each time, in order. */
export function constantNodes(graph: Graph, options: FoldOptions = {}): readonly Node[] {
  const { limit = Infinity, types, select } = options;
  const known = new Set<string>([""]);
  for (const [name, constant] of graph.constants) if (sizeOf(constant.shape) <= limit) known.add(name);
  const fits = (name: string) => {
    if (types === undefined || limit === Infinity || name === "") return true;
    const type = types.get(name);
    return type !== undefined && sizeOf(type.shape) <= limit;
  };
  const found: Node[] = [];
  for (const node of graph.nodes) {
    const computable =
      node.inputs.every((name) => known.has(name)) &&
      captures(node).every((name) => known.has(name)) &&
      isRepeatable(node) &&
      node.outputs.every(fits) &&
      (select?.(node) ?? true);
    if (!computable) continue;
    found.push(node);
    for (const name of node.outputs) known.add(name);
  }
  return found;
}

/** Random operators, Loop (which may never end) and whatever gives something else than tensors. */
const unrepeatable = /^(Random|Multinomial$|Bernoulli$|Dropout$|BiasDropout$|Loop$|Sequence|Optional|SplitToSequence$)/;

/** True for nodes that give the same result each time, and end. */
export function isRepeatable(node: Node): boolean {
  if (unrepeatable.test(node.op)) return false;
  for (const attribute of node.attributes.values()) {
    if (attribute.kind === "graph" && !attribute.value.nodes.every(isRepeatable)) return false;
  }
  return true;
}
