import { appendFile, open, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { EspalierError, type Step } from "../index.node.ts";
import type { Session } from "./program.ts";

/** Without a terminal, a line of progress is at most this often. */
const QUIET_MS = 10_000;

/** A host on a terminal: answers on stdout, progress with time left and errors on stderr, Ctrl-C between two steps. */
export function nodeSession(json: boolean): Session {
  const abort = new AbortController();
  const live = process.stderr.isTTY === true;
  let received: NodeJS.Signals | undefined;
  let started = performance.now();
  let told = started;
  let phase = "";
  let shown = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    // Asked twice, it ends at once; what was begun under a temporary name stays under it.
    if (received !== undefined) {
      end(signal);
      return;
    }
    received = signal;
    process.stderr.write(
      `${shown ? "\n" : ""}Stopping${phase === "" ? "" : ` in "${phase}"`}; nothing half-written stays. Once more stops at once.\n`,
    );
    abort.abort(new EspalierError("request", signal, "expected to finish, was stopped."));
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, onSignal);
  const end = (signal: NodeJS.Signals): void => {
    for (const each of signals) process.off(each, onSignal);
    process.kill(process.pid, signal);
  };
  const endLine = (): void => {
    // The bar makes room for what is told next.
    if (shown) process.stderr.write("\r\u001b[2K");
    shown = false;
  };
  return {
    signal: abort.signal,
    print: (text) => {
      endLine();
      process.stdout.write(`${text}\n`);
    },
    note: (text) => {
      endLine();
      process.stderr.write(`${text}\n`);
    },
    progress: (step) => {
      const now = performance.now();
      const fresh = step.phase !== phase;
      if (fresh) {
        phase = step.phase;
        started = now;
      }
      const line = progressLine(step, (now - started) / 1000);
      if (!live) {
        if (now - told < QUIET_MS) return;
        told = now;
        process.stderr.write(`${line}\n`);
      } else if (fresh || now - told >= 100 || step.done === step.total) {
        told = now;
        process.stderr.write(`\r\u001b[2K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
        shown = true;
      }
    },
    writeText,
    readText,
    appendLine,
    checkOutput,
    fail: (error) => {
      endLine();
      if (json)
        process.stdout.write(
          `${JSON.stringify({ error: { code: error.code, where: error.where, message: error.message } })}\n`,
        );
      process.stderr.write(`espalier: ${error.message}\n`);
    },
    close: () => {
      endLine();
      for (const signal of signals) process.off(signal, onSignal);
    },
    raise: () => {
      end(received ?? "SIGINT");
    },
  };
}

async function writeText(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, text, { flag: "wx" });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw refused(path, "to write there", cause);
  }
}

async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return null;
    throw refused(path, "a text file", cause);
  }
}

async function appendLine(path: string, line: string): Promise<void> {
  try {
    await appendFile(path, `${line}\n`, { flush: true });
  } catch (cause) {
    throw refused(path, "to write there", cause);
  }
}

/** Tries a file of its own in the folder, since rights alone do not tell (a full disk, a read-only mount). */
async function checkOutput(path: string, inputs: readonly string[]): Promise<void> {
  const target = resolve(path);
  const existing = await realpath(target).catch(() => target);
  for (const input of inputs) {
    const other = await realpath(input).catch(() => resolve(input));
    if (other !== existing) continue;
    throw new EspalierError("request", path, "expected another file than the input, got the same.", "Name a new file.");
  }
  const found = await stat(target).catch(() => null);
  if (found?.isDirectory() === true) {
    throw new EspalierError("file", path, "expected a file to write, got a folder.", "Name a file in it.");
  }
  const trial = join(dirname(target), `.espalier-${process.pid}.tmp`);
  try {
    await (await open(trial, "wx")).close();
  } catch (cause) {
    throw refused(path, "a folder that can be written to", cause);
  } finally {
    await rm(trial, { force: true }).catch(() => undefined);
  }
}

function refused(path: string, expected: string, cause: unknown): EspalierError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new EspalierError("file", path, `expected ${expected}, got: ${why}.`, "", { cause });
}

function codeOf(cause: unknown): unknown {
  return cause instanceof Error && "code" in cause ? cause.code : undefined;
}

/** `calibrate ██████░░░░ 12/20, 8 s left`. */
function progressLine({ phase, done, total, detail }: Step, seconds: number): string {
  const full = Math.round((10 * done) / Math.max(1, total));
  const bar = total > 1 ? ` ${"█".repeat(full)}${"░".repeat(10 - full)} ${done}/${total}` : "";
  const left = done > 0 && done < total ? `, ${duration((seconds / done) * (total - done))} left` : "";
  return `${phase}${bar}${left}${detail === undefined ? "" : ` (${detail})`}`;
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
