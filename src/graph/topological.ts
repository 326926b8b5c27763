import { EspalierError } from "../tensor/error.ts";
import { describeNode } from "./attributes.ts";
import { captures } from "./captures.ts";
import type { Node } from "./graph.ts";

/**
 * The nodes with every producer before its consumers. A sorted list stays as it is; else a producer that comes too late
 * moves to just before its first consumer. Linear. Throws `model` on a cycle, naming its nodes.
 */
export function sortNodes(nodes: readonly Node[]): readonly Node[] {
  if (isSorted(nodes)) return nodes;
  const producer = new Map<string, number>();
  for (const [index, node] of nodes.entries())
    for (const name of node.outputs) if (name !== "") producer.set(name, index);
  const needs = nodes.map((node) => dependencies(node, producer));
  const state = new Uint8Array(nodes.length);
  const sorted: Node[] = [];
  // An explicit stack: chains of tens of thousands of nodes would overflow the call stack.
  const stack: number[] = [];
  const position = new Uint32Array(nodes.length);
  for (let root = 0; root < nodes.length; root++) {
    if (state[root] !== unseen) continue;
    stack.push(root);
    state[root] = open;
    while (stack.length > 0) {
      const index = stack[stack.length - 1] ?? 0;
      const next = needs[index]?.[position[index] ?? 0];
      if (next === undefined) {
        state[index] = done;
        stack.pop();
        const node = nodes[index];
        if (node !== undefined) sorted.push(node);
        continue;
      }
      position[index] = (position[index] ?? 0) + 1;
      if (state[next] === open) throw cycle(nodes, stack.slice(stack.indexOf(next)));
      if (state[next] === unseen) {
        state[next] = open;
        stack.push(next);
      }
    }
  }
  return sorted;
}

const unseen = 0;
const open = 1;
const done = 2;

function isSorted(nodes: readonly Node[]): boolean {
  const later = new Set<string>();
  for (let index = nodes.length - 1; index >= 0; index--) {
    const node = nodes[index];
    if (node === undefined) continue;
    for (const name of node.outputs) if (name !== "") later.add(name);
    for (const name of node.inputs) if (later.has(name)) return false;
    for (const name of captures(node)) if (later.has(name)) return false;
  }
  return true;
}

function dependencies(node: Node, producer: ReadonlyMap<string, number>): readonly number[] {
  const needs: number[] = [];
  for (const name of node.inputs) {
    const index = producer.get(name);
    if (index !== undefined) needs.push(index);
  }
  for (const name of captures(node)) {
    const index = producer.get(name);
    if (index !== undefined) needs.push(index);
  }
  return needs;
}

function cycle(nodes: readonly Node[], members: readonly number[]): EspalierError {
  // The stack runs from consumer to producer; data flows the other way.
  const names = members.toReversed().flatMap((index) => nodes[index] ?? []);
  const shown = names.slice(0, 8).map(describeNode);
  if (names.length > shown.length) shown.push(`${names.length - shown.length} more`);
  return new EspalierError(
    "model",
    names[0] === undefined ? "graph" : describeNode(names[0]),
    `expected a graph without cycles, got one through ${shown.join(", ")}.`,
    "Export the model again; ONNX graphs must be acyclic.",
  );
}
