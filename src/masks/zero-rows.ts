import { EspalierError } from "../tensor/error.ts";
import { toFloat32 } from "../tensor/numeric.ts";
import { kthSmallest, smallest } from "../tensor/selection/select.ts";
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

/** Columns of the longest rows that there is room for. */
export const longestRow = 1 << 15;

/*
 * Room for one row, written anew for each. It belongs to the module since loops over arrays that the compiler knows run more than twice
 * as fast as over arguments. Scores are float32 numbers, none below zero, and as such in the same order as their bits: what compares
 * them subtracts whole numbers and takes the sign, without a branch that would go either way at random.
 */
const words = new Int16Array(longestRow);
const longs = new Int32Array(longestRow);
const sizes = new Float32Array(longestRow);
const sizeBits = new Int32Array(sizes.buffer);
const scales = new Float64Array(longestRow);
const scores = new Float32Array(longestRow);
const scoreBits = new Int32Array(scores.buffer);
// A place behind the last that counts is written over.
const inside = new Float32Array(longestRow + 1);
const insideBits = new Int32Array(inside.buffer);
/** Bits of a float32 that tell bins apart: the exponent and three of the mantissa. */
const shift = 20;
const counts = new Int32Array(2 ** (31 - shift));
const infinity = 0x7f800000;

/**
 * Sets weights to exact zeros where they lie, row by row: scored, ranked and masked without a copy of more than a row. What goes
 * is what `smallestPerRow` and `keepNofM` say. host: [rows, columns], at most `longestRow` columns. Throws `data` for scores that
 * are no numbers.
 */
export function zeroInRows(host: HostTensor, rows: number, scored: ColumnScores, rule: RowRule): void {
  const { power, columns: given } = scored;
  const columns = given.length;
  const elements = storedElements(host);
  // Zeros of both signs become the one whose bits are those of no score below it.
  for (let c = 0; c < columns; c++) scales[c] = (given[c] ?? 0) + 0;
  for (let r = 0, start = 0; r < rows; r++, start += columns) {
    const row = elements.subarray(start, start + columns);
    readSizes(row, host.dtype);
    if (power === 1) scoreSizes(columns);
    else scoreSquares(columns);
    if (!countBins(columns)) refuse(columns, power, start);
    if ("removed" in rule) zeroSmallest(row, power, rule.removed);
    else zeroGroups(row, power, rule.keep, rule.of);
  }
}

/** Takes a row in, and |w| of it as float32, exactly where float32 holds it. */
function readSizes(row: Elements, dtype: HostTensor["dtype"]): void {
  const { length } = row;
  if (row instanceof Int16Array) words.set(row);
  else if (row instanceof Int32Array) longs.set(row);
  if (dtype === "bf16") {
    for (let i = 0; i < length; i++) sizeBits[i] = ((words[i] ?? 0) & 0x7fff) << 16;
  } else if (dtype === "f32") {
    for (let i = 0; i < length; i++) sizeBits[i] = (longs[i] ?? 0) & 0x7fffffff;
  } else {
    const bytes = new Uint8Array(row.buffer, row.byteOffset, row.byteLength);
    sizes.set(toFloat32({ dtype, shape: [length], bytes }));
    for (let i = 0; i < length; i++) sizeBits[i] = (sizeBits[i] ?? 0) & 0x7fffffff;
  }
}

function scoreSizes(columns: number): void {
  for (let c = 0; c < columns; c++) scores[c] = (sizes[c] ?? 0) * (scales[c] ?? 0);
}

function scoreSquares(columns: number): void {
  for (let c = 0; c < columns; c++) {
    const size = sizes[c] ?? 0;
    scores[c] = size * size * (scales[c] ?? 0);
  }
}

/** A score before it was rounded to float32, which tells apart those that are equal as such. */
function exactScore(column: number, power: 1 | 2): number {
  const size = sizes[column] ?? 0;
  return (power === 1 ? size : size * size) * (scales[column] ?? 0);
}

/** Counts the scores in each bin. False where one is NaN, whose bits are above those of infinity or have a sign. */
function countBins(columns: number): boolean {
  counts.fill(0);
  let signs = 0;
  for (let c = 0; c < columns; c++) {
    const bits = scoreBits[c] ?? 0;
    signs |= bits | (infinity - bits);
    const bin = bits >>> shift;
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return signs >= 0;
}

/** Zeroes the `removed` smallest of a row; of equal ones the first. */
function zeroSmallest(row: Elements, power: 1 | 2, removed: number): void {
  const { length } = row;
  if (removed <= 0) return;
  if (removed >= length) {
    row.fill(0);
    return;
  }
  const { bits, below, equal } = rank(length, removed - 1);
  const isSettled = below + equal === removed;
  zeroBelow(row, isSettled ? bits + 1 : bits);
  if (isSettled) return;
  const tied: number[] = [];
  for (let c = 0; c < length; c++) if (scoreBits[c] === bits) tied.push(c);
  const goes = smallest(
    Float64Array.from(tied, (c) => exactScore(c, power)),
    removed - below,
  );
  for (const [i, c] of tied.entries()) if (goes[i] === 1) row[c] = 0;
}

/** The bits of the score of rank k, from 0, in ascending order; how many scores are below it, and how many equal to it. */
function rank(columns: number, k: number): { readonly bits: number; readonly below: number; readonly equal: number } {
  let [bin, below, equal] = [0, 0, 0];
  for (; below + (counts[bin] ?? 0) <= k; bin++) below += counts[bin] ?? 0;
  const count = collect(columns, bin);
  inside[count] = kthSmallest(inside.subarray(0, count), k - below);
  const bits = insideBits[count] ?? 0;
  for (let i = 0; i < count; i++) {
    const other = insideBits[i] ?? 0;
    below += (other - bits) >>> 31;
    equal += +(other === bits);
  }
  return { bits, below, equal };
}

/** Puts the scores of one bin inside, and says how many. */
function collect(columns: number, bin: number): number {
  let count = 0;
  for (let c = 0; c < columns; c++) {
    const bits = scoreBits[c] ?? 0;
    insideBits[count] = bits;
    // Bins differ by some bits, none where they are the same: 0 − 1 has a sign.
    count += (((bits >>> shift) ^ bin) - 1) >>> 31;
  }
  return count;
}

/** Zeroes what scores below these bits in the row that was taken in. */
function zeroBelow(row: Elements, bits: number): void {
  const { length } = row;
  if (row instanceof Int16Array) {
    for (let i = 0; i < length; i++) words[i] = (words[i] ?? 0) & ~(((scoreBits[i] ?? 0) - bits) >> 31);
    row.set(words.subarray(0, length));
  } else if (row instanceof Int32Array) {
    for (let i = 0; i < length; i++) longs[i] = (longs[i] ?? 0) & ~(((scoreBits[i] ?? 0) - bits) >> 31);
    row.set(longs.subarray(0, length));
  } else {
    for (let i = 0; i < length; i++) if ((scoreBits[i] ?? 0) < bits) row[i] = 0;
  }
}

/** Zeroes all but the `keep` largest of every `of` neighbours; of equal ones the first go. */
function zeroGroups(row: Elements, power: 1 | 2, keep: number, of: number): void {
  const { length } = row;
  for (let from = 0; from < length; from += of) {
    if (!rankGroup(from, from + of, keep)) rankTied(from, from + of, keep, power);
  }
  // What has `keep` larger neighbours is below 0 now.
  scoreBits.set(insideBits.subarray(0, length));
  zeroBelow(row, 0);
}

/** For each score of a group, `keep` − 1 less the neighbours that are larger. False where two are the same as float32. */
function rankGroup(from: number, to: number, keep: number): boolean {
  let signs = 0;
  for (let i = from; i < to; i++) insideBits[i] = keep - 1;
  for (let i = from; i < to; i++) {
    const bits = scoreBits[i] ?? 0;
    let left = insideBits[i] ?? 0;
    for (let j = i + 1; j < to; j++) {
      const above = (scoreBits[j] ?? 0) - bits;
      const isSmaller = above >>> 31;
      left -= 1 - isSmaller;
      insideBits[j] = (insideBits[j] ?? 0) - isSmaller;
      // Has a sign where the difference is 0.
      signs |= (above - 1) & ~above;
    }
    insideBits[i] = left;
  }
  return signs >= 0;
}

/** The same by scores that were not rounded; of equal ones those behind are larger. */
function rankTied(from: number, to: number, keep: number, power: 1 | 2): void {
  for (let i = from; i < to; i++) {
    const score = exactScore(i, power);
    let larger = 0;
    for (let j = from; j < to; j++) {
      const other = exactScore(j, power);
      larger += +(other > score || (other === score && j > i));
    }
    insideBits[i] = keep - 1 - larger;
  }
}

function refuse(columns: number, power: 1 | 2, start: number): never {
  let at = 0;
  while (at < columns && !Number.isNaN(exactScore(at, power))) at++;
  const hint = "Look for NaN in the weights or in the calibration data.";
  throw new EspalierError("data", "scores", `expected numbers, got NaN at ${start + at}.`, hint);
}
