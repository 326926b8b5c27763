import type { Graph } from "../graph/graph.ts";
import { branchesOf } from "./branches.ts";
import type { Coupling, CouplingFacts, Group } from "./couple.ts";
import { headsOf } from "./heads.ts";

/** Groups whose units lie inside residual branches: what passes the branches keeps its width without them. */
export interface Inner {
  /** Heads of attentions, each key and value head with all queries that read it. */
  readonly heads: ReadonlySet<Group>;
  /** Everything else that no head is made of: neurons of an MLP, channels between two convolutions. */
  readonly neurons: ReadonlySet<Group>;
}

/** Finds them: those that lie on no axis that a residual sum adds along, and not inside a head. */
export function innerOf(graph: Graph, coupling: Coupling, facts: CouplingFacts): Inner {
  const { heads: all } = headsOf(coupling);
  const passing = new Set(
    branchesOf(graph, coupling, facts).flatMap(({ sum, axis }) => {
      const term = coupling.axes(sum)?.[axis];
      return term === undefined ? [] : coupling.occurrences(term).map(({ leaf }) => leaf);
    }),
  );
  const inside = coupling.groups.filter(({ leaf, blocked }) => blocked.length === 0 && !passing.has(leaf));
  const heads = new Set(inside.filter((group) => all.has(group)));
  const place = ({ parameter, axis }: Group["members"][number]): string => `${axis} ${parameter}`;
  const ofHeads = new Set([...heads].flatMap(({ members }) => members.map(place)));
  const neurons = inside.filter(
    (group) =>
      !heads.has(group) &&
      group.members.some(({ role }) => role !== "other") &&
      !group.members.some((member) => ofHeads.has(place(member))),
  );
  return { heads, neurons: new Set(neurons) };
}
