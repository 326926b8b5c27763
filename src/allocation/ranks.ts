import type { Cost } from "../cost/cost.ts";
import { rankOf } from "../tensor/linalg/low-rank.ts";
import { meets, type Target, unreachable } from "./target.ts";

/** A layer that can be taken apart into factors of a rank. */
export interface RankedLayer {
  /** Singular values of its matrices, descending. */
  readonly spectra: readonly Float64Array[];
  readonly fullRank: number;
  /** What it costs whole, and what its factors cost for each unit of rank. */
  readonly whole: Cost;
  readonly perRank: Cost;
}

/**
 * Ranks that meet a target, null where a layer stays whole: all layers keep the same share of their energy, the sum of squares of
 * singular values, as large as the target allows; a layer whose factors would cost no less than itself stays whole. A
 * sparsity is a share of the ranks of every layer. Throws `request` for a target that rank 1 does not meet.
 */
export function allocateRanks(layers: readonly RankedLayer[], full: Cost, target: Target): readonly (number | null)[] {
  if (target.kind === "sparsity") {
    if (target.sparsity === 0) return layers.map(() => null);
    return layers.map(({ fullRank }) => Math.max(1, Math.round((1 - target.sparsity) * fullRank)));
  }
  const counted = target.kind;
  const at = (energy: number): readonly (number | null)[] =>
    layers.map(({ spectra, whole, perRank }) => {
      const rank = Math.max(1, ...spectra.map((values) => rankOf(values, { kind: "energy", share: energy })));
      return rank * perRank[counted] < whole[counted] ? rank : null;
    });
  if (meets(target, costAt(layers, full, at(1)), full)) return at(1);
  const least = costAt(layers, full, at(0));
  if (!meets(target, least, full)) throw unreachable(target, least, full, "rank 1 in every layer");
  let [low, high] = [0, 1];
  // Of shares as close as numbers can be.
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (meets(target, costAt(layers, full, at(middle)), full)) low = middle;
    else high = middle;
  }
  return at(low);
}

/** What the model costs with layers at ranks. */
export function costAt(layers: readonly RankedLayer[], full: Cost, ranks: readonly (number | null)[]): Cost {
  let { macs, params, bytes } = full;
  for (const [i, { whole, perRank }] of layers.entries()) {
    const rank = ranks[i] ?? null;
    if (rank === null) continue;
    macs += rank * perRank.macs - whole.macs;
    params += rank * perRank.params - whole.params;
    bytes += rank * perRank.bytes - whole.bytes;
  }
  return { macs, params, bytes };
}
