import type { Trainer } from "./trainer.ts";

/** Updates that warm the runtime up, and how many are then timed, for at most so many seconds. */
const WARM = 2;
const TIMED = 5;
const SECONDS = 20;

/** Seconds of one update, the median of a few; what they did to the state is undone. */
export async function paceOf(trainer: Trainer, update: () => Promise<unknown>): Promise<number> {
  const start = await trainer.snapshot();
  const times: number[] = [];
  const first = performance.now();
  for (let i = 0; i < WARM + TIMED; i++) {
    const before = performance.now();
    await update();
    const now = performance.now();
    if (i >= WARM) times.push((now - before) / 1000);
    if (times.length > 0 && now - first > 1000 * SECONDS) break;
  }
  await trainer.restore(start);
  times.sort((a, b) => a - b);
  return times[times.length >> 1] ?? Number.NaN;
}
