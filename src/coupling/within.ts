import type { Graph, Node } from "../graph/graph.ts";
import type { Branch } from "./branches.ts";
import type { Group } from "./couple.ts";

/**
 * The span of branches that each group lies in: the first of which a node reads a parameter of the group. Groups that lie in none, such
 * as what passes all branches, are absent or belong to the first span that reads them. spans: branches behind each other.
 */
export function spansOfGroups(
  graph: Graph,
  groups: readonly Group[],
  spans: readonly (readonly Branch[])[],
): ReadonlyMap<Group, number> {
  const producers = new Map<string, Node>();
  for (const node of graph.nodes) for (const name of node.outputs) producers.set(name, node);
  const read = spans.map((span) => parametersOf(graph, producers, span));
  const found = new Map<Group, number>();
  for (const group of groups) {
    const at = read.findIndex((names) => group.members.some(({ parameter }) => names.has(parameter)));
    if (at >= 0) found.set(group, at);
  }
  return found;
}

/** Constants that are read between what passes the first branch of a span and the sum of its last. */
function parametersOf(
  graph: Graph,
  producers: ReadonlyMap<string, Node>,
  span: readonly Branch[],
): ReadonlySet<string> {
  const names = new Set<string>();
  const seen = new Set(span.slice(0, 1).map(({ bypass }) => bypass));
  const open = span.slice(-1).map(({ sum }) => sum);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    if (graph.constants.has(name)) names.add(name);
    open.push(...(producers.get(name)?.inputs ?? []));
  }
  return names;
}
