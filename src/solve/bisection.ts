import { EspalierError } from "../tensor/error.ts";

export interface Search {
  readonly low: number;
  readonly high: number;
  /** What f(x) should come close to without exceeding it. */
  readonly target: number;
  /** Only whole x between low and high. */
  readonly integer?: boolean;
  /** How near x must be found, in x; default 1e-6 of the range. Integers are found exactly. */
  readonly tolerance?: number;
  /** Stops early once f(x) is within this fraction below the target; default 0. */
  readonly closeEnough?: number;
  /** Most evaluations; default 100. */
  readonly maxEvaluations?: number;
}

export interface Found {
  readonly x: number;
  readonly value: number;
  /** False where even the lowest value seen exceeds the target; x is then the nearest. */
  readonly reached: boolean;
  readonly evaluations: number;
}

/**
 * The x at which a monotone function, rising or falling, comes closest to a target without exceeding it. Plateaus and
 * jumps are allowed: on the last plateau x is the one next to where the target would be exceeded. Where f is not quite
 * monotone (measured times) the best x that was tried. Throws `request` for an empty range, `data` where f gives NaN.
 */
export function bisect(f: (x: number) => number, search: Search): Found {
  const steps = bisection(search);
  let step = steps.next();
  while (!step.done) step = steps.next(f(step.value));
  return step.value;
}

/** `bisect` for a function that takes its time. */
export async function bisectAsync(f: (x: number) => Promise<number>, search: Search): Promise<Found> {
  const steps = bisection(search);
  let step = steps.next();
  while (!step.done) step = steps.next(await f(step.value));
  return step.value;
}

/** Yields each x to evaluate and is sent f(x). */
function* bisection(search: Search): Generator<number, Found, number> {
  const { target, integer = false, closeEnough = 0, maxEvaluations = 100 } = search;
  const low = integer ? Math.ceil(search.low) : search.low;
  const high = integer ? Math.floor(search.high) : search.high;
  if (!(low <= high) || Number.isNaN(target)) {
    const got = `${search.low} to ${search.high} with target ${target}`;
    throw new EspalierError("request", "search", `expected a range and a target, got ${got}.`);
  }
  const tolerance = integer ? 1 : (search.tolerance ?? (high - low) * 1e-6);
  let evaluations = 0;
  let best: Omit<Found, "evaluations"> | undefined;

  function* at(x: number): Generator<number, number, number> {
    const value = yield x;
    evaluations++;
    if (Number.isNaN(value)) throw new EspalierError("data", "search", `expected a number at ${x}, got NaN.`);
    const reached = value <= target;
    const nearer =
      best === undefined ||
      (reached && !best.reached) ||
      (reached === best.reached && (reached ? value > best.value : value < best.value));
    // An equal value nearer to the crossing is what bisection visits later.
    if (nearer || (reached && value === best?.value)) best = { x, value, reached };
    return value;
  }

  const atLow = yield* at(low);
  const atHigh = high === low ? atLow : yield* at(high);
  const inside = atLow <= target;
  if (inside !== atHigh <= target) {
    let [a, b] = inside ? [low, high] : [high, low]; // f(a) <= target < f(b)
    while (Math.abs(b - a) > tolerance && evaluations < maxEvaluations) {
      if (best?.reached && best.value >= target - closeEnough * Math.abs(target)) {
        if (closeEnough > 0) break;
      }
      const middle = integer ? Math.floor((a + b) / 2) : (a + b) / 2;
      if (middle === a || middle === b) break;
      if ((yield* at(middle)) <= target) a = middle;
      else b = middle;
    }
  }
  if (best === undefined) throw new Error("a search evaluates at least once");
  return { ...best, evaluations };
}
