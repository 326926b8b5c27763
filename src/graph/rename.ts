import { localNames } from "./captures.ts";
import type { Attribute, Graph, Node } from "./graph.ts";

/** The node with its inputs, outputs and the captures of its subgraphs renamed; the same object when none occurs. */
function renameInNode(node: Node, renames: ReadonlyMap<string, string>, fresh: (prefix: string) => string): Node {
  const outputs = renameList(node.outputs, renames);
  const renamed = renameReads(node, renames, fresh);
  return outputs === node.outputs ? renamed : { ...renamed, outputs };
}

/** The node reading values under new names, in its inputs and in the captures of its subgraphs. */
export function renameReads(node: Node, renames: ReadonlyMap<string, string>, fresh: (prefix: string) => string): Node {
  const inputs = renameList(node.inputs, renames);
  const attributes = renameCaptures(node.attributes, renames, fresh);
  return inputs === node.inputs && attributes === node.attributes ? node : { ...node, inputs, attributes };
}

/** Attributes whose subgraphs read outer values under new names. */
function renameCaptures(
  attributes: ReadonlyMap<string, Attribute>,
  renames: ReadonlyMap<string, string>,
  fresh: (prefix: string) => string,
): ReadonlyMap<string, Attribute> {
  let changed: Map<string, Attribute> | undefined;
  for (const [name, attribute] of attributes) {
    if (attribute.kind !== "graph") continue;
    const value = renameFree(attribute.value, renames, fresh);
    if (value === attribute.value) continue;
    changed ??= new Map(attributes);
    changed.set(name, { kind: "graph", value });
  }
  return changed ?? attributes;
}

/**
 * A subgraph with the outer values that it reads renamed. Its own names shadow outer ones and stay,
 * unless one equals a new outer name: that one gets a fresh name first, else it would catch the outer value.
 */
function renameFree(graph: Graph, renames: ReadonlyMap<string, string>, fresh: (prefix: string) => string): Graph {
  const local = localNames(graph);
  const effective = new Map<string, string>();
  for (const [from, to] of renames) {
    if (local.has(from)) continue;
    effective.set(from, to);
    if (local.has(to)) effective.set(to, fresh(to));
  }
  return effective.size === 0 ? graph : renameAll(graph, effective, fresh);
}

/** A graph with values renamed wherever they occur in it, defined or read, and in what its subgraphs capture. */
export function renameAll(
  graph: Graph,
  renames: ReadonlyMap<string, string>,
  fresh: (prefix: string) => string,
): Graph {
  const nodes = share(graph.nodes, (node) => renameInNode(node, renames, fresh));
  const info = <T extends { readonly name: string }>(value: T): T => {
    const name = renames.get(value.name);
    return name === undefined ? value : { ...value, name };
  };
  const inputs = share(graph.inputs, info);
  const outputs = share(graph.outputs, info);
  const constants = renameKeys(graph.constants, renames, (value) => value);
  const valueInfo = renameKeys(graph.valueInfo, renames, info);
  const same =
    nodes === graph.nodes &&
    inputs === graph.inputs &&
    outputs === graph.outputs &&
    constants === graph.constants &&
    valueInfo === graph.valueInfo;
  return same ? graph : { ...graph, nodes, inputs, outputs, constants, valueInfo };
}

function renameList(names: readonly string[], renames: ReadonlyMap<string, string>): readonly string[] {
  return names.some((name) => renames.has(name)) ? names.map((name) => renames.get(name) ?? name) : names;
}

function share<T>(items: readonly T[], change: (item: T) => T): readonly T[] {
  const changed = items.map(change);
  return changed.some((item, index) => item !== items[index]) ? changed : items;
}

function renameKeys<T>(
  map: ReadonlyMap<string, T>,
  renames: ReadonlyMap<string, string>,
  change: (value: T) => T,
): ReadonlyMap<string, T> {
  if (![...map.keys()].some((name) => renames.has(name))) return map;
  return new Map([...map].map(([name, value]) => [renames.get(name) ?? name, change(value)]));
}
