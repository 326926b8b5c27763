import { EspalierError } from "../tensor/error.ts";
import { magnitudesOf } from "../tensor/selection/magnitudes.ts";
import { RowRanker } from "../tensor/selection/row-ranker.ts";
import { type Elements, storedElements } from "../tensor/stored-elements.ts";
import type { HostTensor } from "../tensor/tensor.ts";

/** Scores |w|ᵖ · s with a number s ≥ 0 of each column. */
export interface ColumnScores {
  readonly power: 1 | 2;
  /** [columns] */
  readonly columns: Float64Array;
}

/** What goes from each row: this many weights, or all but N of every M neighbours. */
export type RowRule = { readonly removed: number } | { readonly keep: number; readonly of: number };

/**
 * Sets weights to exact zeros where they lie, row by row: scored, ranked and masked without a copy of more than a row. What goes
 * is what `smallestPerRow` and `keepNofM` say. host: [rows, columns]. Throws `data` for scores that are no numbers.
 */
export function zeroInRows(
  host: HostTensor,
  rows: number,
  { power, columns: scales }: ColumnScores,
  rule: RowRule,
): void {
  const columns = scales.length;
  const elements = storedElements(host);
  const read = magnitudesOf(host);
  const magnitudes = new Float32Array(columns);
  const ranker = new RowRanker(columns);
  const { scores } = ranker;
  for (let r = 0, start = 0; r < rows; r++, start += columns) {
    read(start, magnitudes);
    if (Number.isNaN(scoreRow(magnitudes, power, scales, scores))) refuse(scores, start);
    if ("removed" in rule) zeroSmallest(elements, start, ranker, rule.removed);
    else zeroGroups(elements, start, scores, rule.keep, rule.of);
  }
}

/** Gives the sum, which is NaN where one score is. */
function scoreRow(magnitudes: Float32Array, power: 1 | 2, scales: Float64Array, scores: Float64Array): number {
  let sum = 0;
  for (let c = 0; c < scores.length; c++) {
    const size = magnitudes[c] ?? 0;
    const score = (power === 1 ? size : size * size) * (scales[c] ?? 0);
    scores[c] = score;
    sum += score;
  }
  return sum;
}

/** Zeroes the `removed` smallest of a row; of equal ones the first. */
function zeroSmallest(elements: Elements, start: number, ranker: RowRanker, removed: number): void {
  const { scores } = ranker;
  if (removed <= 0) return;
  if (removed >= scores.length) {
    elements.fill(0, start, start + scores.length);
    return;
  }
  const threshold = ranker.ofRank(removed - 1);
  const below =
    elements instanceof Float64Array
      ? zeroDoubles(elements, start, scores, threshold)
      : zeroBelow(elements, start, scores, threshold);
  let ties = removed - below;
  for (let c = 0; ties > 0; c++) {
    if (scores[c] !== threshold) continue;
    elements[start + c] = 0;
    ties--;
  }
}

/** Zeroes what scores below a threshold, and counts it. Without branches: which weights stay is random here. */
function zeroBelow(elements: Int16Array | Int32Array, start: number, scores: Float64Array, threshold: number): number {
  let count = 0;
  for (let c = 0; c < scores.length; c++) {
    const below = +((scores[c] ?? 0) < threshold);
    elements[start + c] = (elements[start + c] ?? 0) & (below - 1);
    count += below;
  }
  return count;
}

/** The same for numbers that have no integers of their width. */
function zeroDoubles(elements: Float64Array, start: number, scores: Float64Array, threshold: number): number {
  let count = 0;
  for (let c = 0; c < scores.length; c++) {
    if ((scores[c] ?? 0) >= threshold) continue;
    elements[start + c] = 0;
    count++;
  }
  return count;
}

/** Zeroes all but the `keep` largest of every `of` neighbours; of equal ones the first go. */
function zeroGroups(elements: Elements, start: number, scores: Float64Array, keep: number, of: number): void {
  for (let from = 0; from < scores.length; from += of) {
    for (let a = from; a < from + of; a++) {
      const score = scores[a] ?? 0;
      let larger = 0;
      for (let b = from; b < a; b++) larger += +((scores[b] ?? 0) > score);
      for (let b = a + 1; b < from + of; b++) larger += +((scores[b] ?? 0) >= score);
      if (larger >= keep) elements[start + a] = 0;
    }
  }
}

function refuse(scores: Float64Array, start: number): void {
  const at = scores.findIndex(Number.isNaN);
  if (at < 0) return;
  const hint = "Look for NaN in the weights or in the calibration data.";
  throw new EspalierError("data", "scores", `expected numbers, got NaN at ${start + at}.`, hint);
}
