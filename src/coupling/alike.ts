import type { Group } from "./couple.ts";

/** Groups that keep the same number of units, and the numbers that they may keep, ascending; the last is their size. */
export interface Alike {
  readonly groups: readonly Group[];
  readonly counts: readonly number[];
}
