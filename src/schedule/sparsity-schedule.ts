/** Sparsity at a point of the way, 0 to 1, from an initial to a final one. Before 0 it is the initial one, after 1 the final. */
export type SparsitySchedule = (point: number, final: number, initial?: number) => number;

/** Everything at once, at the start of the way. */
export const oneShot: SparsitySchedule = (point, final, initial = 0) => (point < 0 ? initial : final);

/** The same amount at every step. */
export const linear: SparsitySchedule = (point, final, initial = 0) => initial + (final - initial) * within(point);

/** s_f + (s_i − s_f)(1 − t)³: much while there is much, little in the end (Zhu and Gupta 2017, Eq. 1). */
export const cubic: SparsitySchedule = (point, final, initial = 0) =>
  final + (initial - final) * (1 - within(point)) ** 3;

/** The same share of what is left at every step: densities fall as powers (SynFlow, FORCE, rounds of a lottery ticket). */
export const exponential: SparsitySchedule = (point, final, initial = 0) =>
  1 - (1 - initial) * ((1 - final) / (1 - initial)) ** within(point);

export const schedules = { oneShot, linear, cubic, exponential };

function within(point: number): number {
  return Math.min(1, Math.max(0, point));
}
