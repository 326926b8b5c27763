import { kthSmallest } from "./select.ts";

/** Bits of a float32 that tell bins apart: the exponent and three of the mantissa. */
const shift = 20;

/**
 * Finds scores by rank in rows of the same length, none of them below zero, one row after the other in the same memory. A
 * histogram of the leading bits says in which bin a rank lies; the few of that bin are ranked among themselves.
 */
export class RowRanker {
  /** The row; the caller fills it. */
  readonly scores: Float64Array;
  readonly #rounded: Float32Array;
  readonly #bits: Int32Array;
  readonly #counts = new Int32Array(2 ** (31 - shift));
  readonly #inside: Float64Array;

  constructor(length: number) {
    this.scores = new Float64Array(length);
    this.#rounded = new Float32Array(length);
    this.#bits = new Int32Array(this.#rounded.buffer);
    // A place behind the last that counts is written over.
    this.#inside = new Float64Array(length + 1);
  }

  /** The score of rank k, from 0, in ascending order. */
  ofRank(k: number): number {
    const counts = this.#counts;
    const inside = this.#inside;
    // Rounding to float32 never turns an order round, so no score of a lower bin is larger than one of a higher bin.
    round(this.scores, this.#rounded);
    countBins(this.#bits, counts);
    let bin = 0;
    let below = 0;
    for (; below + (counts[bin] ?? 0) <= k; bin++) below += counts[bin] ?? 0;
    const count = collect(this.scores, this.#bits, bin, inside);
    return kthSmallest(inside.subarray(0, count), k - below);
  }
}

function round(scores: Float64Array, rounded: Float32Array): void {
  for (let i = 0; i < rounded.length; i++) rounded[i] = scores[i] ?? 0;
}

function countBins(bits: Int32Array, counts: Int32Array): void {
  counts.fill(0);
  for (let i = 0; i < bits.length; i++) {
    const bin = (bits[i] ?? 0) >>> shift;
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
}

/** The scores of one bin, and how many. Without branches: which way one goes is random here. */
function collect(scores: Float64Array, bits: Int32Array, bin: number, inside: Float64Array): number {
  let count = 0;
  for (let i = 0; i < scores.length; i++) {
    inside[count] = scores[i] ?? 0;
    count += +((bits[i] ?? 0) >>> shift === bin);
  }
  return count;
}
