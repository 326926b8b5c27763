import { EspalierError } from "../error.ts";

/** Scores to rank. Zeros of both signs are equal; NaN has no rank and is refused with `data`. */
export type Scores = Float32Array | Float64Array;

/** Below this many scores a copy to partition is cheaper than a histogram. */
const smallCount = 1 << 15;

/** How many of n make up a fraction: rounded half up, clamped to 0 to n. */
export function countOf(fraction: number, n: number): number {
  // 0.145 * 100 is 14.499999999999998: a hair more keeps a half a half.
  return Math.min(n, Math.max(0, Math.floor(fraction * n * (1 + 1e-12) + 0.5)));
}

/** Marks with 1 exactly the k smallest scores; of equal ones those with the lower index. `k` is clamped to 0 to n. */
export function smallest(scores: Scores, k: number): Uint8Array {
  const mask = new Uint8Array(scores.length);
  mark(scores, 0, scores.length, k, mask, new Float64Array(0));
  return mask;
}

/** Marks with 1 the k smallest scores of each row. scores: [rows, cols]. `k` may differ per row. Ties as in `smallest`. */
export function smallestPerRow(scores: Scores, rows: number, cols: number, k: number | ArrayLike<number>): Uint8Array {
  checkSize(scores, rows * cols, `[${rows}, ${cols}]`);
  const mask = new Uint8Array(scores.length);
  const scratch = new Float64Array(cols);
  for (let r = 0; r < rows; r++) {
    mark(scores, r * cols, (r + 1) * cols, typeof k === "number" ? k : (k[r] ?? 0), mask, scratch);
  }
  return mask;
}

/**
 * Keeps (marks with 1) the n largest of every m neighbours along the middle axis; of equal ones those with the higher
 * index, so that what goes is what `smallest` marks. scores: [rows, cols, inner]; inner is 1 for a matrix and the kernel
 * size for a convolution. Throws `shape` unless m divides cols.
 */
export function keepNofM(scores: Scores, rows: number, cols: number, n: number, m: number, inner = 1): Uint8Array {
  checkSize(scores, rows * cols * inner, `[${rows}, ${cols}, ${inner}]`);
  if (!(n >= 0 && n <= m && cols % m === 0)) {
    throw new EspalierError(
      "shape",
      `pattern ${n}:${m}`,
      `expected an axis that ${m} divides and at most ${m} kept, got an axis of ${cols}.`,
      "Choose another pattern or leave this parameter out.",
    );
  }
  const mask = new Uint8Array(scores.length);
  const group = new Float64Array(m);
  const groups = (rows * cols) / m;
  for (let g = 0; g < groups; g++) {
    for (let i = 0; i < inner; i++) {
      const base = g * m * inner + i;
      for (let a = 0; a < m; a++) group[a] = ranked(scores[base + a * inner] ?? 0, base + a * inner);
      for (let a = 0; a < m; a++) {
        const score = group[a] ?? 0;
        let larger = 0;
        for (let b = 0; b < m; b++) {
          const other = group[b] ?? 0;
          if (other > score || (other === score && b > a)) larger++;
        }
        if (larger < n) mask[base + a * inner] = 1;
      }
    }
  }
  return mask;
}

/** Indices of the k smallest scores, smallest first; of equal ones the lower index first. */
export function kSmallest(scores: Scores, k: number): Int32Array {
  return order(scores, smallest(scores, k), 1);
}

/** Indices of the k largest scores, largest first; of equal ones the lower index first. */
export function topK(scores: Scores, k: number): Int32Array {
  const n = scores.length;
  const count = Math.min(n, Math.max(0, k));
  const mask = new Uint8Array(n);
  if (count > 0) {
    const threshold = kthSmallest(scores, n - count);
    let ties = count;
    for (let i = 0; i < n; i++) if ((scores[i] ?? 0) > threshold) ties--;
    for (let i = 0; i < n; i++) {
      const score = scores[i] ?? 0;
      if (score > threshold || (score === threshold && ties-- > 0)) mask[i] = 1;
    }
  }
  return order(scores, mask, -1);
}

/** The score of rank k, from 0, in ascending order. */
export function kthSmallest(scores: Scores, k: number): number {
  return valueOfRank(scores, 0, scores.length, k, new Float64Array(0));
}

/** The q-quantile, 0 to 1, interpolated linearly between ranks q (n - 1) below and above. NaN for no scores. */
export function quantile(scores: Scores, q: number): number {
  const last = scores.length - 1;
  if (last < 0) return Number.NaN;
  const at = Math.min(1, Math.max(0, q)) * last;
  const below = Math.floor(at);
  const low = kthSmallest(scores, below);
  const part = at - below;
  return part === 0 ? low : low + (kthSmallest(scores, below + 1) - low) * part;
}

/**
 * Finds the k smallest scores of several arrays that need not be in memory together, exactly by rank, ties by
 * (array, index). Feed all arrays with `add` once per pass, `finder.passes` times, calling `nextPass` after each; then
 * `mark` gives the mask of each array, in the same order. All arrays have one type. Needs 512 KB.
 */
export class ThresholdFinder {
  readonly passes: number;
  readonly #k: number;
  #pass = 0;
  #below = 0;
  /** Digits of 16 bits found so far, most significant first. */
  readonly #digits: number[] = [];
  readonly #histogram = new Float64Array(65536);
  #threshold = Number.NaN;
  #ties = 0;

  /** `k` counts the scores to mark over all arrays. */
  constructor(k: number, kind: "f32" | "f64" = "f32") {
    this.#k = Math.max(0, k);
    this.passes = kind === "f32" ? 2 : 4;
  }

  /** The largest marked score; NaN when none is. Known after the last pass. */
  get threshold(): number {
    return this.#threshold;
  }

  /** How many scores that equal the threshold are still to be marked. */
  get ties(): number {
    return this.#ties;
  }

  /** Counts the scores of one array. Throws `data` for NaN. */
  add(scores: Scores): void {
    if ((scores instanceof Float32Array ? 2 : 4) !== this.passes) throw new TypeError("arrays of one type expected");
    if (scores instanceof Float32Array) count32(scores, this.#pass, this.#digits, this.#histogram);
    else count64(scores, this.#pass, this.#digits, this.#histogram);
  }

  /** Ends a pass over all arrays. */
  nextPass(): void {
    const histogram = this.#histogram;
    let digit = 0;
    let below = this.#below;
    let last = 0;
    for (; digit < 65536; digit++) {
      const count = histogram[digit] ?? 0;
      if (count > 0) last = digit;
      if (below + count >= this.#k) break;
      below += count;
    }
    if (digit === 65536) {
      // More are asked for than there are: all of them.
      digit = last;
      below -= histogram[last] ?? 0;
    }
    this.#digits.push(digit);
    this.#below = below;
    this.#pass++;
    if (this.#pass === this.passes && this.#k > 0) {
      this.#threshold = valueOfDigits(this.#digits);
      this.#ties = this.#k - below;
    }
    histogram.fill(0);
  }

  /** Marks with 1 the scores of the next array that are among the k smallest. */
  mark(scores: Scores): Uint8Array {
    if (this.#pass !== this.passes) throw new Error("mark comes after the last pass");
    const mask = new Uint8Array(scores.length);
    markBelow(scores, 0, scores.length, this.#threshold, mask);
    this.#ties = markTies(scores, 0, scores.length, this.#threshold, this.#ties, mask);
    return mask;
  }
}

/** Marks the k smallest of scores[from, to). */
function mark(scores: Scores, from: number, to: number, k: number, mask: Uint8Array, scratch: Float64Array): void {
  if (k <= 0) return;
  if (k >= to - from) {
    mask.fill(1, from, to);
    return;
  }
  const threshold = valueOfRank(scores, from, to, k - 1, scratch);
  const below = markBelow(scores, from, to, threshold, mask);
  markTies(scores, from, to, threshold, k - below, mask);
}

/** Marks what is below the threshold and counts it. Without branches: which way one goes is random here. */
function markBelow(scores: Scores, from: number, to: number, threshold: number, mask: Uint8Array): number {
  let below = 0;
  for (let i = from; i < to; i++) {
    const bit = +((scores[i] ?? 0) < threshold);
    mask[i] = bit;
    below += bit;
  }
  return below;
}

/** Marks the first `ties` scores that equal the threshold; returns how many are still open. */
function markTies(scores: Scores, from: number, to: number, threshold: number, ties: number, mask: Uint8Array): number {
  let open = ties;
  for (let i = from; i < to && open > 0; i++) {
    if (scores[i] === threshold) {
      mask[i] = 1;
      open--;
    }
  }
  return open;
}

function valueOfRank(scores: Scores, from: number, to: number, k: number, scratch: Float64Array): number {
  const n = to - from;
  if (n > smallCount) {
    const found = n > 8 * sampleSize ? valueInBracket(scores, from, to, k) : undefined;
    if (found !== undefined) return found;
    const finder = new ThresholdFinder(k + 1, scores instanceof Float32Array ? "f32" : "f64");
    const part = n === scores.length ? scores : scores.subarray(from, to);
    for (let pass = 0; pass < finder.passes; pass++) {
      finder.add(part);
      finder.nextPass();
    }
    return finder.threshold;
  }
  const values = scratch.length >= n ? scratch : new Float64Array(n);
  for (let i = 0; i < n; i++) values[i] = ranked(scores[from + i] ?? 0, from + i);
  return sampledSelect(values, n, k);
}

/** Scores from which a sample pays. */
const leastSampled = 512;
/** Scores of a sample, and how many ranks of it to each side are searched: two and a half standard deviations. */
const sampled = 64;
const reach = 10;

/** Selection among those between two values that a sample says to lie around the rank (Floyd and Rivest 1975). Changes `values`. */
function sampledSelect(values: Float64Array, n: number, k: number): number {
  if (n < leastSampled) return quickselect(values, n, k);
  const sample = new Float64Array(sampled);
  for (let i = 0; i < sampled; i++) sample[i] = values[Math.floor((i * n) / sampled)] ?? 0;
  sample.sort();
  const at = Math.floor((k * sampled) / n);
  const low = at < reach ? Number.NEGATIVE_INFINITY : (sample[at - reach] ?? 0);
  const high = at + reach >= sampled ? Number.POSITIVE_INFINITY : (sample[at + reach] ?? 0);
  const between = new Float64Array(n);
  let below = 0;
  let count = 0;
  // Without branches: which way one goes is random here. A place behind the last that counts is written over.
  for (let i = 0; i < n; i++) {
    const value = values[i] ?? 0;
    const under = +(value < low);
    between[count] = value;
    below += under;
    count += +(value <= high) - under;
  }
  const found = k >= below && k < below + count && count < n;
  return found ? sampledSelect(between, count, k - below) : quickselect(values, n, k);
}

/** Scores that are looked at to guess between which values a rank lies. */
const sampleSize = 8192;

/**
 * The score of rank k, from one pass over the scores: those between two values of a sample, five standard deviations around the rank,
 * are ranked among themselves. Undefined where that failed: the rank lies outside, too many lie inside, or some are NaN.
 */
function valueInBracket(scores: Scores, from: number, to: number, k: number): number | undefined {
  const n = to - from;
  const step = Math.floor(n / sampleSize);
  const sample = new Float64Array(sampleSize);
  for (let i = 0; i < sampleSize; i++) sample[i] = scores[from + i * step] ?? 0;
  sample.sort();
  const share = k / n;
  const margin = 5 * Math.sqrt(sampleSize * share * (1 - share)) + 5;
  const low = sample[Math.floor(share * sampleSize - margin)] ?? Number.NEGATIVE_INFINITY;
  const high = sample[Math.ceil(share * sampleSize + margin)] ?? Number.POSITIVE_INFINITY;
  const inside = new Float64Array((n >> 2) + sampleSize);
  let below = 0;
  let above = 0;
  let count = 0;
  for (let start = from; start < to; start += sampleSize) {
    if (count > n >> 2) return undefined;
    const end = Math.min(to, start + sampleSize);
    // Without branches: which way one goes is random here.
    for (let i = start; i < end; i++) {
      const score = scores[i] ?? 0;
      inside[count] = score;
      const under = +(score < low);
      const over = +(score > high);
      below += under;
      above += over;
      count += +(score >= low) & +(score <= high);
    }
  }
  const rank = k - below;
  // Zeros of both signs are equal, and given as the positive one.
  return below + above + count === n && rank >= 0 && rank < count ? quickselect(inside, count, rank) + 0 : undefined;
}

/** Hoare's selection with the median of three as pivot; sorts what is left where that goes badly. */
function quickselect(values: Float64Array, n: number, k: number): number {
  let low = 0;
  let high = n - 1;
  for (let round = 0; low < high; round++) {
    if (round > 64) {
      values.subarray(low, high + 1).sort();
      break;
    }
    const a = values[low] ?? 0;
    const b = values[(low + high) >> 1] ?? 0;
    const c = values[high] ?? 0;
    const pivot = Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
    let i = low;
    let j = high;
    while (i <= j) {
      while ((values[i] ?? 0) < pivot) i++;
      while ((values[j] ?? 0) > pivot) j--;
      if (i > j) break;
      const value = values[i] ?? 0;
      values[i] = values[j] ?? 0;
      values[j] = value;
      i++;
      j--;
    }
    if (k <= j) high = j;
    else if (k >= i) low = i;
    else break;
  }
  return values[k] ?? Number.NaN;
}

/**
 * Adds the digit `pass` of every score whose higher digits are `digits`. Bits of a float, with the sign bit turned and,
 * below zero, all others too, are ordered as the numbers are.
 */
function count32(scores: Float32Array, pass: number, digits: readonly number[], histogram: Float64Array): void {
  const bits = new Int32Array(scores.buffer, scores.byteOffset, scores.length);
  const [high = 0] = digits;
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i] ?? 0;
    if ((word & 0x7fffffff) > 0x7f800000) ranked(Number.NaN, i);
    let key = word ^ ((word >> 31) | 0x80000000);
    if (key === 0x7fffffff) key = 0x80000000 | 0; // -0
    if (pass === 0) {
      const digit = key >>> 16;
      histogram[digit] = (histogram[digit] ?? 0) + 1;
    } else if (key >>> 16 === high) {
      const digit = key & 0xffff;
      histogram[digit] = (histogram[digit] ?? 0) + 1;
    }
  }
}

function count64(scores: Float64Array, pass: number, digits: readonly number[], histogram: Float64Array): void {
  const bits = new Int32Array(scores.buffer, scores.byteOffset, scores.length * 2);
  const [d0 = 0, d1 = 0, d2 = 0] = digits;
  const top = (d0 << 16) | d1;
  for (let i = 0; i < scores.length; i++) {
    ranked(scores[i] ?? 0, i);
    let low = bits[2 * i] ?? 0;
    let high = bits[2 * i + 1] ?? 0;
    if (low === 0 && high === -0x80000000) high = 0; // -0
    const sign = high >> 31;
    high ^= sign | 0x80000000;
    low ^= sign;
    let digit = high >>> 16;
    if (pass === 1) {
      if (digit !== d0) continue;
      digit = high & 0xffff;
    } else if (pass >= 2) {
      if (high !== top) continue;
      digit = low >>> 16;
      if (pass === 3) {
        if (digit !== d2) continue;
        digit = low & 0xffff;
      }
    }
    histogram[digit] = (histogram[digit] ?? 0) + 1;
  }
}

/** The number whose ordered bits are these digits. */
function valueOfDigits(digits: readonly number[]): number {
  const [d0 = 0, d1 = 0, d2 = 0, d3 = 0] = digits;
  const high = (d0 << 16) | d1;
  const turned = high < 0 ? 0x80000000 : 0xffffffff;
  if (digits.length === 2) return new Float32Array(Int32Array.of(high ^ turned).buffer)[0] ?? Number.NaN;
  const low = ((d2 << 16) | d3) ^ (high < 0 ? 0 : 0xffffffff);
  return new Float64Array(Int32Array.of(low, high ^ turned).buffer)[0] ?? Number.NaN;
}

function order(scores: Scores, mask: Uint8Array, direction: 1 | -1): Int32Array {
  const indices: number[] = [];
  for (let i = 0; i < mask.length; i++) if (mask[i] === 1) indices.push(i);
  indices.sort((a, b) => direction * ((scores[a] ?? 0) - (scores[b] ?? 0)) || a - b);
  return Int32Array.from(indices);
}

function ranked(score: number, index: number): number {
  if (Number.isNaN(score)) {
    throw new EspalierError(
      "data",
      "scores",
      `expected numbers, got NaN at ${index}.`,
      "Look for NaN in the weights or in the calibration data.",
    );
  }
  return score;
}

function checkSize(scores: Scores, expected: number, shape: string): void {
  if (scores.length === expected) return;
  throw new EspalierError("shape", `scores ${shape}`, `expected ${expected} scores, got ${scores.length}.`);
}
