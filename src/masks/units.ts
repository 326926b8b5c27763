import type { UnitCounts } from "../cost/sizes-at.ts";
import type { Group } from "../coupling/couple.ts";
import { smallestPerRow } from "../tensor/selection/select.ts";

/** Keeps the best units of each set of each group: one byte a unit, 1 keeps; of equal scores the later unit stays. */
export function unitMasks(
  scores: ReadonlyMap<Group, Float64Array>,
  counts: UnitCounts,
): ReadonlyMap<Group, Uint8Array> {
  const masks = new Map<Group, Uint8Array>();
  for (const [group, kept] of counts) {
    const score = scores.get(group);
    if (score === undefined || kept >= group.size) continue;
    const removed = smallestPerRow(score, group.sets, group.size, group.size - kept);
    for (let i = 0; i < removed.length; i++) removed[i] = removed[i] === 1 ? 0 : 1;
    masks.set(group, removed);
  }
  return masks;
}
