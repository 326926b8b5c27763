/** Finished parts of a long job, so that a job that was stopped continues where it was. */
export interface Journal<T> {
  get(key: string): T | undefined;
  /** Returns when the part is stored. */
  add(key: string, value: T): Promise<void>;
}

/** A journal that forgets. */
export function noJournal<T>(): Journal<T> {
  return { get: () => undefined, add: () => Promise.resolve() };
}
