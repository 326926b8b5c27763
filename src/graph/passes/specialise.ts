import { fromInts } from "../../tensor/numeric.ts";
import { type HostTensor, load, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import { asRef, intAttr } from "../attributes.ts";
import type { Graph, Node, ValueInfo } from "../graph.ts";
import type { Types } from "../subgraph.ts";
import { distinctNodes } from "./distinct.ts";
import { constantNodes, type Evaluate } from "./fold.ts";

/** What each operator that only asks for sizes answers, as a list or a single number. */
const sizeQueries: ReadonlyMap<string, (node: Node, shape: readonly number[]) => HostTensor> = new Map([
  [
    "Shape",
    (node, shape) => {
      const part = shape.slice(intAttr(node, "start", 0), intAttr(node, "end", shape.length));
      return fromInts("i64", [part.length], part);
    },
  ],
  ["Size", (_, shape) => fromInts("i64", [], [sizeOf(shape)])],
]);

/**
 * Replaces questions about sizes (Shape, Size) by their answers at the given types, so that whole integer chains become
 * constant. Values without a type keep their nodes. The result holds at these sizes only.
 */
export function shapeConstants(graph: Graph, types: Types): Graph {
  const constants = new Map(graph.constants);
  const valueInfo = new Map(graph.valueInfo);
  const outputs = new Set(graph.outputs.map((output) => output.name));
  const nodes = graph.nodes.filter((node) => {
    const query = node.domain === "" ? sizeQueries.get(node.op) : undefined;
    const input = node.inputs[0] ?? "";
    const type = query === undefined ? undefined : (types.get(input) ?? graph.constants.get(input));
    const output = node.outputs[0] ?? "";
    if (query === undefined || type === undefined || output === "" || outputs.has(output)) return true;
    constants.set(output, asRef(query(node, type.shape)));
    valueInfo.delete(output);
    return false;
  });
  return nodes.length === graph.nodes.length ? graph : { ...graph, nodes, constants, valueInfo };
}

/** Elements above which a value is data rather than a size or an index. */
const mostElements = 65_536;
const mostFloats = 1024;

/**
 * The value of every small integer, bool and (up to 1,024 elements) float tensor that follows from constants and from
 * the sizes in `types`, constants included: what Reshape, Slice, Gather and Expand are told at these sizes.
 * One call of `evaluate`; values above `limit` elements, or without a type, are left out.
 */
export async function integerValues(
  graph: Graph,
  types: Types,
  evaluate: Evaluate,
  limit: number = mostElements,
): Promise<ReadonlyMap<string, HostTensor>> {
  // Without outputs, so that a size which is itself an output gets its answer too.
  const sized = shapeConstants({ ...graph, outputs: [] }, types);
  const isWanted = (value: Pick<TensorRef, "dtype" | "shape">) =>
    sizeOf(value.shape) <=
    (integers.has(value.dtype) ? limit : floats.has(value.dtype) ? Math.min(limit, mostFloats) : -1);
  const foldable = constantNodes(sized, { limit, types });
  const { nodes, standsFor } = distinctNodes(sized, undefined, foldable);
  const wanted: string[] = [];
  for (const node of foldable) {
    for (const output of node.outputs) {
      const type = types.get(output);
      if (type !== undefined && isWanted(type)) wanted.push(output);
    }
  }
  const values = new Map<string, HostTensor>();
  const small = [...sized.constants].filter(([, constant]) => isWanted(constant));
  for (const [name, value] of await Promise.all(small.map(async ([key, ref]) => [key, await load(ref)] as const))) {
    values.set(name, value);
  }
  if (wanted.length === 0) return values;
  const distinct = [...new Set(wanted.map((name) => standsFor.get(name) ?? name))];
  const outputs = distinct.map((name): ValueInfo => ({ name, dtype: types.get(name)?.dtype ?? null }));
  const part: Graph = { ...sized, nodes, inputs: [], outputs, valueInfo: new Map() };
  const computed = await evaluate(part, distinct);
  for (const name of wanted) {
    const value = computed.get(standsFor.get(name) ?? name);
    if (value !== undefined) values.set(name, value);
  }
  return values;
}

const integers: ReadonlySet<string> = new Set(["i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "bool"]);
const floats: ReadonlySet<string> = new Set(["f32", "f64", "f16", "bf16"]);
