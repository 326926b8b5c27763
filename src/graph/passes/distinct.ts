import { bytesOf, formatShape, type TensorRef } from "../../tensor/tensor.ts";
import { allNames } from "../captures.ts";
import type { Attribute, Graph, Node } from "../graph.ts";
import { Names } from "../names.ts";
import { renameReads } from "../rename.ts";
import { isRepeatable } from "./fold.ts";

/** Nodes of which no two compute the same. */
export interface Distinct {
  /** In order, reading what stands for the values that are gone. */
  readonly nodes: readonly Node[];
  /** The value that stands for another; those that are not here stand for themselves. */
  readonly standsFor: ReadonlyMap<string, string>;
}

/**
 * Leaves out every node that applies the same operator, with the same attributes, to the same values as one before it.
 * Constants of the same few bytes are the same value. `alike` may say more: values with the same text are taken for one.
 * Exporters repeat chains of sizes in every block of a model; this joins them. Nodes with subgraphs all stay.
 */
export function distinctNodes(
  graph: Graph,
  alike: (value: string) => string | undefined = () => undefined,
  nodes: readonly Node[] = graph.nodes,
): Distinct {
  const standsFor = new Map<string, string>();
  const values = numbering(standsFor, (value) => alike(value) ?? contentOf(graph.constants.get(value)));
  const firsts = new Map<string, Node>();
  const kept: Node[] = [];
  let names: Names | undefined;
  const fresh = (prefix: string): string => {
    names ??= new Names(allNames(graph));
    return names.fresh(prefix);
  };
  for (const node of nodes) {
    const inputs = node.inputs.map(values.numberOf).join();
    const attributes = isRepeatable(node) ? attributesOf(node) : undefined;
    const present = node.outputs.length === 1 ? "" : node.outputs.map((name) => Number(name !== "")).join("");
    const key = `${node.domain} ${node.op} ${inputs} ${present} ${attributes}`;
    const first = attributes === undefined ? undefined : firsts.get(key);
    if (first !== undefined) {
      for (const [i, value] of node.outputs.entries()) if (value !== "") values.join(value, first.outputs[i] ?? value);
      continue;
    }
    if (attributes !== undefined) firsts.set(key, node);
    kept.push(renameReads(node, standsFor, fresh));
  }
  return { nodes: kept, standsFor };
}

/** Numbers for values, the same for those with the same text; `standsFor` learns which came first. */
function numbering(standsFor: Map<string, string>, textOf: (value: string) => string | undefined) {
  const numbers = new Map<string, number>();
  const firsts = new Map<string, string>();
  const numberOf = (value: string): number => {
    const known = numbers.get(value);
    if (known !== undefined) return known;
    const text = textOf(value);
    const first = text === undefined ? undefined : firsts.get(text);
    if (first !== undefined) return join(value, first);
    if (text !== undefined) firsts.set(text, value);
    numbers.set(value, numbers.size);
    return numbers.size - 1;
  };
  const join = (value: string, first: string): number => {
    const number = numberOf(first);
    numbers.set(value, number);
    if (value !== first) standsFor.set(value, first);
    return number;
  };
  return { numberOf, join };
}

/** Constants above this many bytes are only compared by name. */
const compared = 256;

function contentOf(ref: TensorRef | undefined): string | undefined {
  if (ref?.resident === undefined || bytesOf(ref) > compared) return undefined;
  return `${ref.dtype}${formatShape(ref.shape)}${String.fromCharCode(...ref.resident)}`;
}

/** All attributes as text; undefined where one cannot be compared. */
function attributesOf({ attributes }: Node): string | undefined {
  if (attributes.size === 0) return "";
  const parts: string[] = [];
  for (const [name, attribute] of attributes) {
    const value = attribute.unknown === undefined ? attributeText(attribute) : undefined;
    if (value === undefined) return undefined;
    parts.push(`${name}:${attribute.kind}=${value}`);
  }
  return parts.join();
}

function attributeText(attribute: Attribute): string | undefined {
  switch (attribute.kind) {
    case "float":
    case "int":
      return Object.is(attribute.value, -0) ? "-0" : String(attribute.value);
    case "floats":
    case "ints":
      return attribute.value.map((value) => (Object.is(value, -0) ? "-0" : value)).join(";");
    case "string":
    case "strings":
      return JSON.stringify(attribute.value);
    case "tensor":
      return contentOf(attribute.value);
    default:
      return undefined;
  }
}
