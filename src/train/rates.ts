/** The factor of the learning rate at a step: `step` of `total`, counted from 0. */
export type RateSchedule = (step: number, total: number) => number;

/** The rate as it is. */
export const constantRate: RateSchedule = () => 1;

/** Half a cosine from 1 to `end` (Loshchilov and Hutter 2017). */
export function cosineRate(end = 0): RateSchedule {
  return (step, total) => end + ((1 - end) * (1 + Math.cos((Math.PI * step) / Math.max(1, total)))) / 2;
}

/** A straight line from 1 to `end`. */
export function linearRate(end = 0): RateSchedule {
  return (step, total) => 1 + ((end - 1) * step) / Math.max(1, total);
}

/** Multiplied by `factor` at each of these shares of the run. */
export function steppedRate(at: readonly number[], factor = 0.1): RateSchedule {
  return (step, total) => factor ** at.filter((share) => step >= share * total).length;
}

/** A straight line from 0 to 1 over the first `share` of the run, then another schedule over the rest. */
export function warmedUp(share: number, then: RateSchedule): RateSchedule {
  return (step, total) => {
    const rise = Math.round(share * total);
    return step < rise ? (step + 1) / rise : then(step - rise, total - rise);
  };
}

/** The part of a schedule between two shares of its run, for a run that is that part alone. */
export function partOfRate(schedule: RateSchedule, from: number, until: number): RateSchedule {
  return (step, total) => {
    const whole = total / (until - from);
    return schedule(from * whole + step, whole);
  };
}
