import { EspalierError } from "./error.ts";
import { polynomialFit } from "./linalg/least-squares.ts";
import { random } from "./random.ts";

/** A range that holds the true value with some confidence. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ?? 0;
  return sum / values.length;
}

/** Standard deviation of a sample (n - 1 below the line); NaN for fewer than two values. */
export function standardDeviation(values: ArrayLike<number>): number {
  const centre = mean(values);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += ((values[i] ?? 0) - centre) ** 2;
  return values.length < 2 ? Number.NaN : Math.sqrt(sum / (values.length - 1));
}

/** Linear correlation, -1 to 1; NaN where one side is constant. */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number {
  checkPairs("correlation", a, b);
  const [ma, mb] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const x = (a[i] ?? 0) - ma;
    const y = (b[i] ?? 0) - mb;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}

/** Ranks from 1; equal values share the mean of their ranks. */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((a, b) => (values[a] ?? 0) - (values[b] ?? 0));
  const out = new Float64Array(values.length);
  for (let i = 0; i < order.length; ) {
    let end = i + 1;
    while (end < order.length && values[order[end] ?? 0] === values[order[i] ?? 0]) end++;
    for (let k = i; k < end; k++) out[order[k] ?? 0] = (i + 1 + end) / 2;
    i = end;
  }
  return out;
}

/** Spearman's rank correlation, ties at their mean rank. */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return pearson(ranks(a), ranks(b));
}

/** Kendall's rank correlation, tau-b. Time grows with n². */
export function kendall(a: ArrayLike<number>, b: ArrayLike<number>): number {
  checkPairs("correlation", a, b);
  let [agreement, untiedA, untiedB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < i; j++) {
      const x = Math.sign((a[i] ?? 0) - (a[j] ?? 0));
      const y = Math.sign((b[i] ?? 0) - (b[j] ?? 0));
      agreement += x * y;
      untiedA += x * x;
      untiedB += y * y;
    }
  }
  return agreement / Math.sqrt(untiedA * untiedB);
}

/** Area under the ROC curve: how often a positive scores above a negative, ties half. NaN where a class is absent. */
export function auroc(scores: ArrayLike<number>, positive: ArrayLike<boolean | number>): number {
  checkPairs("AUROC", scores, positive);
  const rank = ranks(scores);
  let [count, sum] = [0, 0];
  for (let i = 0; i < rank.length; i++) {
    if (!positive[i]) continue;
    count++;
    sum += rank[i] ?? 0;
  }
  return (sum - (count * (count + 1)) / 2) / (count * (rank.length - count));
}

/** Where a curve bends, by two definitions (essential-sparsity reports both). */
export interface Knee {
  /** x of the point furthest from the chord between the ends, both axes scaled to 0 to 1. */
  readonly chord: number;
  /** x of the point at which two straight lines, one on each side, fit best. */
  readonly break: number;
  /** Squared error of one line over that of the two; a sharp knee has 5 or more. */
  readonly sharpness: number;
}

/** The knee of a curve given by at least four points of ascending x. Throws `data`. */
export function knee(x: readonly number[], y: readonly number[]): Knee {
  checkPairs("knee", x, y);
  if (x.length < 4) throw new EspalierError("data", "knee", `expected at least 4 points, got ${x.length}.`);
  const [xs, ys] = [unitScaled(x), unitScaled(y)];
  const [first = 0, last = 0] = [ys[0], ys.at(-1)];
  const gaps = xs.map((v, i) => Math.abs((ys[i] ?? 0) - first - v * (last - first)));
  const chord = gaps.indexOf(Math.max(...gaps));
  let best = 1;
  let error = Number.POSITIVE_INFINITY;
  for (let i = 1; i < x.length - 1; i++) {
    const both = lineError(xs.slice(0, i + 1), ys.slice(0, i + 1)) + lineError(xs.slice(i), ys.slice(i));
    if (both >= error) continue;
    best = i;
    error = both;
  }
  // Rounding leaves an exact fit with an error of about 1e-32.
  const sharpness = (lineError(xs, ys) + 1e-24) / (error + 1e-24);
  return { chord: x[chord] ?? 0, break: x[best] ?? 0, sharpness };
}

/**
 * Two-sided p of the mean of a - b under random signs: all 2^n of them up to n = 16, else `rounds` seeded ones (where p
 * counts the observed one too, so that it is never 0).
 */
export function pairedPermutationTest(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { rounds = 10_000, seed = 0 } = {},
): number {
  checkPairs("permutation test", a, b);
  const n = a.length;
  const differences = Float64Array.from({ length: n }, (_, i) => (a[i] ?? 0) - (b[i] ?? 0));
  const observed = Math.abs(mean(differences)) * n;
  // Sums in another order may differ in their last bits and are still ties.
  const reached = observed - 1e-12 * differences.reduce((sum, d) => sum + Math.abs(d), 0);
  const exact = n <= 16;
  const total = exact ? 2 ** n : rounds;
  const draw = random(seed, "permutation test");
  let extreme = 0;
  for (let round = 0; round < total; round++) {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const negative = exact ? (round >> i) & 1 : draw.int(2);
      sum += negative === 1 ? -(differences[i] ?? 0) : (differences[i] ?? 0);
    }
    if (Math.abs(sum) >= reached) extreme++;
  }
  return exact ? extreme / total : (extreme + 1) / (total + 1);
}

/** Percentile bootstrap interval of a statistic of independent values. */
export function bootstrap(
  values: readonly number[],
  statistic: (sample: readonly number[]) => number = mean,
  { confidence = 0.95, rounds = 2000, seed = 0 } = {},
): Interval {
  const draw = random(seed, "bootstrap");
  const found = Float64Array.from({ length: rounds }, () => {
    return statistic(values.map(() => values[draw.int(values.length)] ?? 0));
  }).sort();
  const tail = ((1 - confidence) / 2) * (rounds - 1);
  return { low: found[Math.floor(tail)] ?? Number.NaN, high: found[rounds - 1 - Math.floor(tail)] ?? Number.NaN };
}

/** Student's interval of the mean, for a handful of seeds say. NaN for fewer than two values. */
export function meanInterval(values: ArrayLike<number>, confidence = 0.95): Interval {
  const n = values.length;
  const half = n < 2 ? Number.NaN : (tQuantile(confidence, n - 1) * standardDeviation(values)) / Math.sqrt(n);
  return { low: mean(values) - half, high: mean(values) + half };
}

/** t with P(|T| < t) = confidence for Student's T. With t = √ν tan θ the probability is a finite sum in cos² θ. */
function tQuantile(confidence: number, degrees: number): number {
  const inside = (theta: number) => {
    const cosine = Math.cos(theta);
    const odd = degrees % 2 === 1;
    let term = odd ? cosine : 1;
    let sum = degrees === 1 ? 0 : term;
    for (let k = odd ? 3 : 2; k < degrees; k += 2) {
      term *= ((k - 1) / k) * cosine * cosine;
      sum += term;
    }
    const product = Math.sin(theta) * sum;
    return odd ? (2 / Math.PI) * (theta + product) : product;
  };
  let [low, high] = [0, Math.PI / 2];
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (inside(middle) < confidence) low = middle;
    else high = middle;
  }
  return Math.sqrt(degrees) * Math.tan((low + high) / 2);
}

function lineError(x: readonly number[], y: readonly number[]): number {
  if (x.length < 3) return 0;
  const [offset = 0, slope = 0] = polynomialFit(x, y, 1);
  return x.reduce((sum, v, i) => sum + ((y[i] ?? 0) - offset - slope * v) ** 2, 0);
}

function unitScaled(values: readonly number[]): number[] {
  const low = Math.min(...values);
  const range = Math.max(...values) - low;
  return values.map((v) => (range === 0 ? 0 : (v - low) / range));
}

function checkPairs(where: string, a: ArrayLike<unknown>, b: ArrayLike<unknown>): void {
  if (a.length === b.length) return;
  throw new EspalierError("shape", where, `expected as many values on both sides, got ${a.length} and ${b.length}.`);
}
