/** Seconds spent in each named phase of one run. */
export interface PhaseClock {
  /** Runs a phase and adds its time to the phase's name. */
  time<T>(phase: string, work: () => Promise<T>): Promise<T>;
  readonly seconds: Readonly<Record<string, number>>;
}

/** A clock that has measured nothing yet. No phase begins once `signal` is aborted. */
export function phaseClock(signal?: AbortSignal): PhaseClock {
  const seconds: Record<string, number> = {};
  return {
    seconds,
    time: async (phase, work) => {
      signal?.throwIfAborted();
      const start = performance.now();
      try {
        return await work();
      } finally {
        seconds[phase] = (seconds[phase] ?? 0) + (performance.now() - start) / 1000;
      }
    },
  };
}
