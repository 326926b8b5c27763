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
  /** Writes a file whole or not at all. Throws `file`. */
  writeText(path: string, text: string): Promise<void>;
  /** The text of a file, null where there is none. Throws `file`. */
  readText(path: string): Promise<string | null>;
  /** Adds a line to a file and waits until it is stored. Throws `file`. */
  appendLine(path: string, line: string): Promise<void>;
  /** Throws `file` where nothing can be written to a path, and `request` where it is one of these inputs. */
  checkOutput(path: string, inputs: readonly string[]): Promise<void>;
}
