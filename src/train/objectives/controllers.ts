/**
 * Steers a number so that something measured meets a target. State is passed, never kept, so that a run can be resumed:
 * it is a list of numbers.
 */
export interface Controller {
  readonly start: readonly number[];
  /** The number at a state. */
  value(state: readonly number[]): number;
  /** The next state; `excess` is what was measured minus its target. */
  next(state: readonly number[], excess: number): readonly number[];
}

export interface LagrangianOptions {
  /** How fast the multiplier follows the excess. */
  readonly rate: number;
  readonly start?: number;
  /** True where being below the target is as wrong as being above; default false: the multiplier is never negative. */
  readonly equality?: boolean;
}

/** λ ← λ + rate · excess, at least 0 for an inequality: gradient ascent on the multiplier of a constraint. */
export function lagrangian({ rate, start = 0, equality = false }: LagrangianOptions): Controller {
  return {
    start: [start],
    value: ([multiplier = start]) => multiplier,
    next: ([multiplier = start], excess) => {
      const moved = multiplier + rate * excess;
      return [equality ? moved : Math.max(0, moved)];
    },
  };
}

/**
 * Halves an interval at each measurement, for numbers of which more means less of what is measured (a penalty's strength and
 * the size that is left). On a geometric scale where both ends are positive.
 */
export function bisecting(low: number, high: number): Controller {
  const geometric = low > 0 && high > 0;
  const middle = (a: number, b: number): number => (geometric ? Math.sqrt(a * b) : (a + b) / 2);
  return {
    start: [low, high],
    value: ([a = low, b = high]) => middle(a, b),
    next: ([a = low, b = high], excess) => (excess > 0 ? [middle(a, b), b] : [a, middle(a, b)]),
  };
}
