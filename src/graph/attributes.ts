import { EspalierError } from "../tensor/error.ts";
import type { HostTensor, TensorRef } from "../tensor/tensor.ts";
import type { Attribute, Graph, Node } from "./graph.ts";

/** Attributes by name, as the makers below give them. */
export type Attributes = Readonly<Record<string, Attribute>>;

export const int = (value: number): Attribute => ({ kind: "int", value });
export const ints = (value: readonly number[]): Attribute => ({ kind: "ints", value });
export const float = (value: number): Attribute => ({ kind: "float", value });
export const floats = (value: readonly number[]): Attribute => ({ kind: "floats", value });
export const string = (value: string): Attribute => ({ kind: "string", value });
export const subgraph = (value: Graph): Attribute => ({ kind: "graph", value });

/** A tensor attribute over a reference or over bytes in memory. */
export function tensorAttribute(value: TensorRef | HostTensor): Attribute {
  return { kind: "tensor", value: asRef(value) };
}

/** A reference to either kind of tensor, sharing the bytes. */
export function asRef(value: TensorRef | HostTensor): TensorRef {
  return "bytes" in value ? { dtype: value.dtype, shape: value.shape, resident: value.bytes } : value;
}

/** The int attribute `name`, or `absent` when the node does not have it; throws `model` when it has another kind. */
export function intAttr(node: Node, name: string, absent: number): number {
  const found = node.attributes.get(name);
  if (found === undefined) return absent;
  return found.kind === "int" ? found.value : wrongKind(node, name, "int", found);
}

/** As `intAttr`, for a list. `absent` may be undefined where the default depends on the input. */
export function intsAttr<T extends readonly number[] | undefined>(
  node: Node,
  name: string,
  absent: T,
): readonly number[] | T {
  const found = node.attributes.get(name);
  if (found === undefined) return absent;
  return found.kind === "ints" ? found.value : wrongKind(node, name, "ints", found);
}

/** As `intAttr`, for a float; an int is read as one. */
export function floatAttr(node: Node, name: string, absent: number): number {
  const found = node.attributes.get(name);
  if (found === undefined) return absent;
  return found.kind === "float" || found.kind === "int" ? found.value : wrongKind(node, name, "float", found);
}

/** As `intAttr`, for a string. */
export function stringAttr(node: Node, name: string, absent: string): string {
  const found = node.attributes.get(name);
  if (found === undefined) return absent;
  return found.kind === "string" ? found.value : wrongKind(node, name, "string", found);
}

/** The subgraphs of a node (branches of If, bodies of Loop and Scan) by attribute name. */
export function graphAttrs(node: Node): readonly (readonly [name: string, graph: Graph])[] {
  const found: [string, Graph][] = [];
  for (const [name, attribute] of node.attributes) {
    if (attribute.kind === "graph") found.push([name, attribute.value]);
  }
  return found;
}

/** The node with some attributes set, and those given as null removed. */
export function withAttributes(node: Node, changes: Readonly<Record<string, Attribute | null>>): Node {
  const attributes = new Map(node.attributes);
  for (const [name, attribute] of Object.entries(changes)) {
    if (attribute === null) attributes.delete(name);
    else attributes.set(name, attribute);
  }
  return { ...node, attributes };
}

/** How messages name a node: its operator and its name, or its first output where it has none. */
export function describeNode(node: Node): string {
  const name = node.name !== "" ? node.name : node.outputs.find((output) => output !== "");
  return `${node.domain === "" ? "" : `${node.domain}::`}${node.op} "${name ?? ""}"`;
}

function wrongKind(node: Node, name: string, expected: string, found: Attribute): never {
  throw new EspalierError(
    "model",
    describeNode(node),
    `expected attribute "${name}" of kind ${expected}, got ${found.kind}.`,
  );
}
