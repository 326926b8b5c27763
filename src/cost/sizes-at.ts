import type { Coupling, Group } from "../coupling/couple.ts";
import type { AxisSize } from "./cost.ts";

/** How many units each group keeps in each of its sets. */
export type UnitCounts = ReadonlyMap<Group, number>;

/** Sizes of axes when groups keep the given counts. */
export function sizesAt(coupling: Coupling, counts: UnitCounts): AxisSize {
  const byLeaf = new Map([...counts].map(([group, count]) => [group.leaf, count]));
  const memo = new Map<object, number>();
  return (value, axis) => {
    const term = coupling.axes(value)?.[axis];
    if (term === undefined) return undefined;
    let size = memo.get(term);
    if (size === undefined) {
      size = coupling.count(term, (leaf) => byLeaf.get(leaf) ?? leaf.size);
      memo.set(term, size);
    }
    return size;
  };
}
