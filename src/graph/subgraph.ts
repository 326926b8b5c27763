import { didYouMean, EspalierError } from "../tensor/error.ts";
import { captures, localNames } from "./captures.ts";
import { edit } from "./edit.ts";
import type { Graph, TensorType, ValueInfo } from "./graph.ts";
import { removeDeadCode } from "./passes/dead-code.ts";

/** Types of values by name, as far as they are known. */
export type Types = ReadonlyMap<string, TensorType>;

/**
 * The part of a graph that computes `outputs`, with only the inputs that it needs.
 * Values named in `from` become inputs: the part starts there. Throws `model` for names that the graph does not have.
 */
export function extract(
  graph: Graph,
  outputs: readonly string[],
  options: { readonly types?: Types; readonly from?: readonly string[] } = {},
): Graph {
  const infos = lookup(graph, options.types);
  const from = options.from ?? [];
  requireValues(graph, [...outputs, ...from]);
  const draft = edit(graph);
  const cut = from.map(infos).filter(({ name }) => !graph.inputs.some((input) => input.name === name));
  for (const { name } of cut) {
    const node = draft.producer(name);
    if (node === undefined) draft.removeConstant(name);
    else {
      // The node may still be needed for its other outputs.
      const renamed = node.outputs.map((output) => (output === name ? draft.fresh(name) : output));
      draft.replace(node, { ...node, outputs: renamed });
    }
    draft.setType(name, null);
  }
  draft.setInputInfos([...graph.inputs, ...cut]);
  draft.setOutputs(outputs.map(infos));
  const live = removeDeadCode(draft.finish());
  const needed = new Set(outputs);
  for (const node of live.nodes) {
    for (const name of node.inputs) needed.add(name);
    for (const name of captures(node)) needed.add(name);
  }
  const inputs = live.inputs.filter((input) => needed.has(input.name));
  return inputs.length === live.inputs.length ? live : { ...live, inputs };
}

/** The graph with more outputs: taps. Values that are outputs already stay where they are. */
export function expose(graph: Graph, values: Iterable<string>, types?: Types): Graph {
  const infos = lookup(graph, types);
  const present = new Set(graph.outputs.map((output) => output.name));
  const added: ValueInfo[] = [];
  const wanted = [...values];
  requireValues(graph, wanted);
  for (const value of wanted) {
    if (present.has(value)) continue;
    present.add(value);
    added.push(infos(value));
  }
  return added.length === 0 ? graph : { ...graph, outputs: [...graph.outputs, ...added] };
}

/** The best known declaration of a value: `types`, else what the graph declares. ONNX Runtime infers a null dtype. */
function lookup(graph: Graph, types: Types | undefined): (value: string) => ValueInfo {
  const declared = new Map([...graph.inputs, ...graph.outputs].map((info) => [info.name, info]));
  return (name) => {
    const known = declared.get(name);
    if (known !== undefined) return known;
    const type = types?.get(name);
    if (type !== undefined) return { name, dtype: type.dtype, dims: type.shape };
    const constant = graph.constants.get(name);
    if (constant !== undefined) return { name, dtype: constant.dtype, dims: constant.shape };
    return graph.valueInfo.get(name) ?? { name, dtype: null };
  };
}

function requireValues(graph: Graph, values: readonly string[]): void {
  const names = localNames(graph);
  for (const value of values) {
    if (names.has(value)) continue;
    const hint = didYouMean(value, names);
    throw new EspalierError("model", `value "${value}"`, `expected a value of graph "${graph.name}", got none.`, hint);
  }
}
