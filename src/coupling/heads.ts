import type { Term } from "./axis-algebra.ts";
import type { Coupling, Group } from "./couple.ts";

/** Groups whose units are heads of an attention. */
export interface Heads {
  /** A unit is a head with everything of its own: a key and value head with all query heads that read it. */
  readonly heads: ReadonlySet<Group>;
  /** A unit is one query head; the same groups where every query head has keys of its own. */
  readonly queryHeads: ReadonlySet<Group>;
}

/**
 * Finds the heads of a graph by what is done with them: a head is an index of an axis that survives a product of two
 * matrices of data, since one is multiplied for each. Where such an axis counts query heads inside key heads, the outer
 * factor are the heads.
 */
export function headsOf(coupling: Coupling): Heads {
  const byLeaf = new Map<Term, Group>(coupling.groups.map((group) => [group.leaf, group]));
  const heads = new Set<Group>();
  const queryHeads = new Set<Group>();
  for (const axis of coupling.heads) {
    const factors = coupling.occurrences(axis).toSorted((a, b) => b.stride - a.stride);
    const counted = factors.flatMap(({ leaf }) => byLeaf.get(leaf) ?? []);
    const [outer] = counted;
    const inner = counted.at(-1);
    if (outer !== undefined && outer.blocked.length === 0) heads.add(outer);
    if (inner !== undefined && inner.blocked.length === 0) queryHeads.add(inner);
  }
  return { heads, queryHeads };
}
