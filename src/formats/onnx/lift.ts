import type { Attribute, Graph, Node } from "../../graph/graph.ts";
import type { DType } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { TensorRef } from "../../tensor/tensor.ts";
import { toInt64 } from "./decode-attribute.ts";
import { decodeSparse } from "./decode-tensor.ts";
import type { Decoding } from "./decoding.ts";
import { Fields } from "./fields.ts";
import { nodeLabel, quoted } from "./label.ts";
import { packStrings } from "./strings.ts";

/** Moves what Constant nodes hold into `constants`, here and in subgraphs. */
export function liftConstants(graph: Graph, decoding: Decoding): Graph {
  const constants = new Map(graph.constants);
  const nodes: Node[] = [];
  for (const node of graph.nodes) {
    if (node.op === "Constant" && node.domain === "") {
      const output = node.outputs[0] ?? "";
      if (constants.has(output)) {
        throw new EspalierError(
          "model",
          nodeLabel(node),
          `expected a new name for its output, got ${quoted(output)} again.`,
        );
      }
      if (output !== "") constants.set(output, constantOf(node, decoding));
    } else nodes.push(liftInside(node, decoding));
  }
  return { ...graph, nodes, constants };
}

function liftInside(node: Node, decoding: Decoding): Node {
  let changed = false;
  const attributes = new Map<string, Attribute>();
  for (const [name, attribute] of node.attributes) {
    changed ||= attribute.kind === "graph";
    const lifted =
      attribute.kind === "graph" ? { ...attribute, value: liftConstants(attribute.value, decoding) } : null;
    attributes.set(name, lifted ?? attribute);
  }
  return changed ? { ...node, attributes } : node;
}

function constantOf(node: Node, decoding: Decoding): TensorRef {
  for (const [name, attribute] of node.attributes) {
    const ref = name.startsWith("value") || name === "sparse_value" ? tensorOf(name, attribute, decoding) : undefined;
    if (ref !== undefined) return ref;
  }
  throw new EspalierError("model", nodeLabel(node), "expected an attribute with its value, got none.");
}

function tensorOf(name: string, attribute: Attribute, decoding: Decoding): TensorRef | undefined {
  switch (attribute.kind) {
    case "tensor":
      return attribute.value;
    case "float":
      return floats([attribute.value], []);
    case "floats":
      return floats(attribute.value, [attribute.value.length]);
    case "int":
      return integers([toInt64(attribute.value)], []);
    case "ints":
      return integers(attribute.value.map(toInt64), [attribute.value.length]);
    case "string":
      return resident("string", [], packStrings([attribute.value]));
    case "strings":
      return resident("string", [attribute.value.length], packStrings(attribute.value));
    case "opaque":
      return opaqueTensor(name, attribute.value, decoding);
    default:
      return undefined;
  }
}

/** Values that attributes keep as bytes: sparse tensors, long lists, other text than UTF-8, inexact integers. */
function opaqueTensor(name: string, value: Uint8Array, decoding: Decoding): TensorRef | undefined {
  const f = Fields.of(name, value);
  const numbers: number[] = [];
  const ints: bigint[] = [];
  const strings: Uint8Array[] = [];
  while (f.next()) {
    if (f.field === 22) return decodeSparse(f.message(), decoding).ref;
    if (f.field === 3 || f.field === 8) f.varints(() => ints.push((BigInt(f.high | 0) << 32n) | BigInt(f.low)));
    else if (f.field === 4 || f.field === 9) strings.push(f.bytes());
    else if (f.field === 7) for (const number of f.floats()) numbers.push(number);
  }
  if (name === "value_int") return integers(ints.slice(-1), []);
  if (name === "value_ints") return integers(ints, [ints.length]);
  if (name === "value_floats") return floats(numbers, [numbers.length]);
  if (name === "value_string") return resident("string", [], packStrings(strings.slice(-1)));
  return name === "value_strings" ? resident("string", [strings.length], packStrings(strings)) : undefined;
}

function resident(dtype: DType, shape: readonly number[], bytes: Uint8Array): TensorRef {
  return { dtype, shape, resident: bytes };
}

function floats(values: readonly number[], shape: readonly number[]): TensorRef {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (const [i, value] of values.entries()) view.setFloat32(i * 4, value, true);
  return resident("f32", shape, new Uint8Array(view.buffer));
}

function integers(values: readonly bigint[], shape: readonly number[]): TensorRef {
  const view = new DataView(new ArrayBuffer(values.length * 8));
  for (const [i, value] of values.entries()) view.setBigInt64(i * 8, value, true);
  return resident("i64", shape, new Uint8Array(view.buffer));
}
