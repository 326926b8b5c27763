import { isFloat } from "../tensor/dtype.ts";
import { toFloat64 } from "../tensor/numeric.ts";
import { formatShape, sizeOf, type TensorRef } from "../tensor/tensor.ts";
import type { Attribute, Graph, Node, ValueInfo } from "./graph.ts";

/**
 * A graph as text, one line a node, for reading and for golden files: equal graphs give equal texts.
 * Constants stand where they are used, with their values when they are few; subgraphs are indented below their node.
 */
export function printGraph(graph: Graph): string {
  const opsets = [...graph.opsets].sort(byName).map(([domain, version]) => `${domain || "ai.onnx"} ${version}`);
  return `${printBody(graph, `graph ${name(graph.name)} (${opsets.join(", ")})`, "").join("\n")}\n`;
}

function printBody(graph: Graph, title: string, indent: string): string[] {
  const lines = [`${indent}${title}`];
  const inner = `${indent}  `;
  for (const input of graph.inputs) lines.push(`${inner}input %${printType(input)}`);
  for (const node of graph.nodes) {
    lines.push(`${inner}${printNode(node, graph.constants)}`);
    for (const [key, attribute] of [...node.attributes].sort(byName)) {
      if (attribute.kind === "graph") lines.push(...printBody(attribute.value, `${name(key)}:`, `${inner}  `));
    }
  }
  for (const output of graph.outputs) {
    const constant = graph.constants.get(output.name);
    lines.push(
      `${inner}output ${constant === undefined ? `%${printType(output)}` : printConstant(output.name, constant)}`,
    );
  }
  return lines;
}

function printNode(node: Node, constants: Graph["constants"]): string {
  const outputs = node.outputs.map((value) => (value === "" ? "_" : `%${name(value)}`));
  const inputs = node.inputs.map((value) => {
    if (value === "") return "_";
    const constant = constants.get(value);
    return constant === undefined ? `%${name(value)}` : printConstant(value, constant);
  });
  const attributes = [...node.attributes].sort(byName).map(([key, value]) => printAttribute(name(key), value));
  const op = node.domain === "" || node.domain === "ai.onnx" ? name(node.op) : `${name(node.domain)}::${name(node.op)}`;
  const bracket = attributes.length === 0 ? "" : `[${attributes.join(", ")}]`;
  return `${outputs.join(", ")} = ${op}${bracket}(${inputs.join(", ")})`;
}

function printAttribute(key: string, attribute: Attribute): string {
  switch (attribute.kind) {
    case "graph":
      return key;
    case "opaque":
      return `${key}=opaque(${attribute.value.length} bytes)`;
    case "tensor":
      return `${key}=${printTensor(attribute.value)}`;
    case "string":
      return `${key}=${JSON.stringify(attribute.value)}`;
    case "strings":
      return `${key}=${JSON.stringify(attribute.value)}`;
    case "floats":
    case "ints":
      return `${key}=[${attribute.value.map(String).join(", ")}]`;
    case "float":
      return `${key}=${real(attribute.value)}`;
    case "int":
      return `${key}=${attribute.value}`;
  }
}

function printConstant(value: string, constant: TensorRef): string {
  return `${name(value)}: ${printTensor(constant)}`;
}

const fewElements = 8;

function printTensor(tensor: TensorRef): string {
  const type = `${tensor.dtype}${formatShape(tensor.shape)}`;
  const few = sizeOf(tensor.shape) <= fewElements;
  if (!few || tensor.resident === undefined) return type;
  const host = { dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.resident };
  if (isFloat(tensor.dtype)) return `${type} {${[...toFloat64(host)].map(real).join(", ")}}`;
  const view = new DataView(host.bytes.buffer, host.bytes.byteOffset, host.bytes.byteLength);
  // Through BigInt: the largest int64 stands for "to the end" in many files.
  if (tensor.dtype === "i64") return `${type} {${list(tensor, (i) => view.getBigInt64(8 * i, true))}}`;
  if (tensor.dtype === "i32") return `${type} {${list(tensor, (i) => view.getInt32(4 * i, true))}}`;
  if (tensor.dtype === "bool") return `${type} {${list(tensor, (i) => view.getUint8(i))}}`;
  return type;
}

function list(tensor: TensorRef, element: (index: number) => number | bigint): string {
  return Array.from({ length: sizeOf(tensor.shape) }, (_, index) => String(element(index))).join(", ");
}

function printType(info: ValueInfo): string {
  const type = info.dtype ?? (info.raw === undefined ? "?" : "opaque");
  return `${name(info.name)}: ${type}${info.dims === undefined ? "" : formatShape(info.dims)}`;
}

/** Seven digits tell any two f32 that differ in a way that matters, and 0.1 prints as 0.1. */
function real(value: number): string {
  return String(Number(value.toPrecision(7)));
}

/** Plain names as they are; whatever could be mistaken for syntax in quotes. */
function name(value: string): string {
  return /^[^\s"%(){}[\],=]+$/.test(value) ? value : JSON.stringify(value);
}

function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}
