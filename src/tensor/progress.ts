/** One step of a long job, for a bar with time left. */
export interface Step {
  readonly phase: string;
  /** Steps done of `total` in this phase. */
  readonly done: number;
  readonly total: number;
  readonly detail?: string;
}

/** What long jobs take from their caller: somewhere to report to, and a way to be stopped between two steps. */
export interface Job {
  readonly progress?: (step: Step) => void;
  readonly signal?: AbortSignal;
}

/** Reports a step and stops the job here if it was asked to. */
export function step(job: Job, phase: string, done: number, total: number, detail?: string): void {
  job.signal?.throwIfAborted();
  job.progress?.({ phase, done, total, ...(detail === undefined ? {} : { detail }) });
}
