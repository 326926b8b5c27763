import type { Step } from "../index.node.ts";

/** What a command sees of the world, so that tests can run it in memory. */
export interface Host {
  /** A line of the answer on stdout; with --json only the answer's JSON goes there. */
  print(text: string): void;
  /** A line on stderr. */
  note(text: string): void;
  /** One step of a long job, for the bar. */
  progress(step: Step): void;
  /** Aborted on Ctrl-C. */
  readonly signal: AbortSignal;
  writeText(path: string, text: string): Promise<void>;
}
