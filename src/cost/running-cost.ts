import type { Coupling, Group } from "../coupling/couple.ts";
import type { AxisSize, Cost, CostModel } from "./cost.ts";
import type { UnitCounts } from "./sizes-at.ts";

/** A cost that is kept up while groups change one by one; only what a group is part of is counted again. */
export interface RunningCost {
  /** The cost if the group kept so many units; nothing is changed. */
  with(group: Group, count: number): Cost;
  /** Lets the group keep so many units from now on. */
  set(group: Group, count: number): void;
}

/** The running cost of a model whose groups keep `counts` units. It equals `total` at the same sizes, to the last bit. */
export function runningCost(coupling: Coupling, cost: CostModel, counts: UnitCounts): RunningCost {
  const kept = new Map<object, number>([...counts].map(([{ leaf }, count]) => [leaf, count]));
  const size: AxisSize = (value, axis) => {
    const term = coupling.axes(value)?.[axis];
    return term === undefined ? undefined : coupling.count(term, (leaf) => kept.get(leaf) ?? leaf.size);
  };
  const own = cost.parts.map((part) => part.count(size));
  const partsOf = partsByLeaf(coupling, cost);
  let sums: Cost = { params: 0, macs: 0, bytes: 0 };
  for (const each of own) sums = plus(sums, each);

  /** What becomes of the parts of a group, and of the sums. */
  const changed = (
    group: Group,
    count: number,
  ): { readonly parts: readonly (readonly [number, Cost])[]; sums: Cost } => {
    const before = kept.get(group.leaf) ?? group.leaf.size;
    kept.set(group.leaf, count);
    let after = sums;
    const parts: (readonly [number, Cost])[] = [];
    for (const index of partsOf.get(group.leaf) ?? []) {
      const now = cost.parts[index]?.count(size) ?? nothing;
      parts.push([index, now]);
      after = plus(after, now, own[index]);
    }
    kept.set(group.leaf, before);
    return { parts, sums: after };
  };
  return {
    with: (group, count) => {
      const { params, macs, bytes } = changed(group, count).sums;
      return { params, macs: macs / cost.samples, bytes };
    },
    set: (group, count) => {
      const next = changed(group, count);
      kept.set(group.leaf, count);
      for (const [index, now] of next.parts) own[index] = now;
      sums = next.sums;
    },
  };
}

const nothing: Cost = { params: 0, macs: 0, bytes: 0 };

function plus(a: Cost, b: Cost, less: Cost = nothing): Cost {
  return {
    params: a.params + b.params - less.params,
    macs: a.macs + b.macs - less.macs,
    bytes: a.bytes + b.bytes - less.bytes,
  };
}

/** The numbers of the parts whose cost depends on how many units of a leaf are kept. */
function partsByLeaf(coupling: Coupling, { parts }: CostModel): ReadonlyMap<object, ReadonlySet<number>> {
  const byLeaf = new Map<object, Set<number>>();
  for (const [index, { values }] of parts.entries()) {
    for (const name of values) {
      for (const axis of coupling.axes(name) ?? []) {
        for (const { leaf } of coupling.occurrences(axis)) {
          const found = byLeaf.get(leaf);
          if (found === undefined) byLeaf.set(leaf, new Set([index]));
          else found.add(index);
        }
      }
    }
  }
  return byLeaf;
}
