import { byteLengthOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { formatShape, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import { describeNode } from "../attributes.ts";
import type { Attribute, Graph, Node } from "../graph.ts";

/**
 * Throws `model` unless the graph keeps its promises: every value defined once and before its use, in subgraphs too;
 * outputs defined; operator sets imported; attributes and constants of sound kinds and sizes.
 * Gives the graph back, so that it can wrap a pass.
 */
export function verify(graph: Graph): Graph {
  verifyIn(graph, graph.opsets, `graph "${graph.name}"`, undefined, 0);
  return graph;
}

/** The names visible at a point: those of this graph so far, then those around it. */
interface Scope {
  readonly names: ReadonlySet<string>;
  readonly outer: Scope | undefined;
}

const deepest = 64;

function verifyIn(graph: Graph, opsets: Graph["opsets"], where: string, outer: Scope | undefined, depth: number): void {
  if (depth > deepest) fail(where, `expected at most ${deepest} nested subgraphs, got more.`);
  const names = new Set<string>();
  const scope: Scope = { names, outer };
  const define = (name: string, by: string) => {
    if (names.has(name)) fail(by, `expected one definition of value "${name}", got two.`);
    names.add(name);
  };
  for (const input of graph.inputs) {
    if (input.name === "") fail(where, "expected a name for every input, got an empty one.");
    define(input.name, where);
    verifyDims(input.dims, `input "${input.name}"`);
  }
  for (const [name, constant] of graph.constants) {
    if (name === "") fail(where, "expected a name for every constant, got an empty one.");
    define(name, where);
    verifyTensor(constant, `constant "${name}"`);
  }
  for (const node of graph.nodes) {
    verifyNode(node, opsets, scope, depth);
    for (const name of node.outputs) if (name !== "") define(name, describeNode(node));
  }
  for (const output of graph.outputs) {
    if (!visible(scope, output.name)) fail(where, `expected a value for output "${output.name}", got none.`);
    verifyDims(output.dims, `output "${output.name}"`);
  }
  for (const [name, info] of graph.valueInfo) {
    if (info.name !== name) fail(where, `expected a declared type for "${name}", got one for "${info.name}".`);
    verifyDims(info.dims, `value "${name}"`);
  }
}

function verifyNode(node: Node, opsets: Graph["opsets"], scope: Scope, depth: number): void {
  if (node.op === "") fail(describeNode(node), "expected an operator, got an empty name.");
  if (!opsets.has(node.domain) && !(node.domain === "ai.onnx" && opsets.has(""))) {
    fail(describeNode(node), `expected an import of operator set "${node.domain}", got none.`);
  }
  for (const name of node.inputs) {
    if (name !== "" && !visible(scope, name)) {
      fail(describeNode(node), `expected input "${name}" to be defined before its use, got no definition.`);
    }
  }
  for (const [name, attribute] of node.attributes) {
    const where = `attribute "${name}" of ${describeNode(node)}`;
    if (attribute.kind === "graph") verifyIn(attribute.value, opsets, where, scope, depth + 1);
    else verifyAttribute(attribute, where);
  }
}

function verifyAttribute(attribute: Exclude<Attribute, { kind: "graph" }>, where: string): void {
  const whole = (value: number) => {
    if (!Number.isInteger(value)) fail(where, `expected integers, got ${value}.`);
  };
  if (attribute.kind === "int") whole(attribute.value);
  else if (attribute.kind === "ints") attribute.value.forEach(whole);
  else if (attribute.kind === "tensor") verifyTensor(attribute.value, where);
}

function verifyTensor(tensor: TensorRef, where: string): void {
  const size = sizeOf(tensor.shape);
  if (!Number.isSafeInteger(size) || tensor.shape.some((n) => !Number.isSafeInteger(n) || n < 0)) {
    fail(where, `expected sizes that are whole and not negative, got ${formatShape(tensor.shape)}.`);
  }
  if (tensor.dtype === "string") return;
  const expected = byteLengthOf(tensor.dtype, size);
  const got = tensor.resident?.byteLength ?? tensor.at?.length ?? (tensor.made && expected);
  if (got !== expected) {
    fail(where, `expected ${expected} bytes for ${tensor.dtype}${formatShape(tensor.shape)}, got ${got ?? "no data"}.`);
  }
}

function verifyDims(dims: readonly (number | string | null)[] | undefined, where: string): void {
  for (const dim of dims ?? []) {
    if (typeof dim === "number" && (!Number.isSafeInteger(dim) || dim < 0)) {
      fail(where, `expected sizes that are whole and not negative, got ${formatShape(dims ?? [])}.`);
    }
  }
}

function visible(scope: Scope, name: string): boolean {
  for (let s: Scope | undefined = scope; s !== undefined; s = s.outer) if (s.names.has(name)) return true;
  return false;
}

function fail(where: string, message: string): never {
  throw new EspalierError("model", where, message);
}
