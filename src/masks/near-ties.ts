/** Scores from activations agree to about 1e-6 across devices; what is nearer than this may be decided differently. */
const TOLERANCE = 1e-5;

/**
 * Counts the units whose score lies so near to the border between kept and removed that rounding may decide, set by
 * set of each group. `tolerance` is relative to the score at the border.
 */
export function nearTies<G extends { readonly sets: number }>(
  scores: ReadonlyMap<G, Float64Array>,
  masks: ReadonlyMap<G, Uint8Array>,
  tolerance = TOLERANCE,
): number {
  let count = 0;
  for (const [group, mask] of masks) {
    const score = scores.get(group);
    if (score === undefined) continue;
    const size = mask.length / group.sets;
    for (let from = 0; from < mask.length; from += size) {
      count += nearBorder(score.subarray(from, from + size), mask.subarray(from, from + size), tolerance);
    }
  }
  return count;
}

function nearBorder(score: Float64Array, mask: Uint8Array, tolerance: number): number {
  let highestRemoved = Number.NEGATIVE_INFINITY;
  let lowestKept = Number.POSITIVE_INFINITY;
  for (let i = 0; i < mask.length; i++) {
    const value = score[i] ?? 0;
    if (mask[i] === 0) highestRemoved = Math.max(highestRemoved, value);
    else lowestKept = Math.min(lowestKept, value);
  }
  const slack = tolerance * Math.max(Math.abs(highestRemoved), Math.abs(lowestKept));
  if (!Number.isFinite(slack) || lowestKept - highestRemoved > slack) return 0;
  let count = 0;
  for (let i = 0; i < mask.length; i++) {
    const value = score[i] ?? 0;
    if (mask[i] === 0 ? value >= lowestKept - slack : value <= highestRemoved + slack) count++;
  }
  return count;
}
