import type { Graph, Node } from "../graph/graph.ts";
import { otherAddend } from "../ops/linear.ts";
import { isFloat } from "../tensor/dtype.ts";
import { sameShape } from "../tensor/tensor.ts";
import type { Term } from "./axis-algebra.ts";
import { type Coupling, type CouplingFacts, isBookkeeping } from "./couple.ts";

/** A part of a graph between a value and a sum that adds to that value, which can go as a whole. */
export interface Branch {
  /** The sum, and its two addends. */
  readonly sum: string;
  readonly branch: string;
  readonly bypass: string;
  /** Axis of the sum that counts features. */
  readonly axis: number;
  /** Features on that axis. */
  readonly features: number;
}

/**
 * Finds the residual branches of a graph: at a sum of two values of data with the same shape, the one that is computed from
 * the other, such as an attention or a block of convolutions. Both sides of a sum whose sides are computed apart, such as a
 * block with a projected shortcut, are worth something else than their difference, so none of them is a branch.
 */
export function branchesOf(graph: Graph, coupling: Coupling, facts: CouplingFacts): readonly Branch[] {
  const producers = new Map<string, Node>();
  for (const node of graph.nodes) for (const name of node.outputs) producers.set(name, node);
  const counters = featureLeaves(coupling);
  const found: Branch[] = [];
  for (const node of graph.nodes) {
    const [a = "", b = ""] = node.inputs;
    const [sum = ""] = node.outputs;
    if (isBookkeeping(node, facts) || otherAddend(node, a) !== b) continue;
    const types = [a, b, sum].map((name) => facts.types.get(name));
    const shape = types[0]?.shape ?? [];
    if (!types.every((type) => type !== undefined && isFloat(type.dtype) && sameShape(type.shape, shape))) continue;
    const bypass = dependsOn(producers, a, b) ? b : dependsOn(producers, b, a) ? a : null;
    if (bypass === null) continue;
    const axes = coupling.axes(sum) ?? [];
    const counted = counters.map((leaves) =>
      axes.findIndex((axis) => coupling.occurrences(axis).some(({ leaf }) => leaves.has(leaf))),
    );
    const axis = counted.find((found) => found >= 0) ?? shape.length - 1;
    found.push({ sum, bypass, branch: bypass === a ? b : a, axis, features: shape[axis] ?? 1 });
  }
  return found;
}

/**
 * What counts features, the surest first: units that may go, then rows or columns of matrices. Positions that a table is
 * asked for are neither, and their number may follow the input.
 */
function featureLeaves(coupling: Coupling): readonly ReadonlySet<Term>[] {
  const free = coupling.groups.filter(({ blocked }) => blocked.length === 0);
  const ofMatrices = coupling.groups.filter(({ members }) => members.some(({ role }) => role !== "other"));
  return [free, ofMatrices].map((groups) => new Set(groups.map(({ leaf }) => leaf)));
}

/** True where `value` is computed from `source`. */
function dependsOn(producers: ReadonlyMap<string, Node>, value: string, source: string): boolean {
  const seen = new Set<string>();
  const stack = [value];
  for (let name = stack.pop(); name !== undefined; name = stack.pop()) {
    if (name === source) return true;
    if (seen.has(name)) continue;
    seen.add(name);
    stack.push(...(producers.get(name)?.inputs ?? []));
  }
  return false;
}
