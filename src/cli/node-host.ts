import { rename, rm, writeFile } from "node:fs/promises";
import { EspalierError, type Step } from "../index.node.ts";
import type { Host } from "./host.ts";

export interface NodeHost extends Host {
  fail(error: EspalierError): void;
  /** Ends the bar and stops listening to signals. */
  close(): Promise<void>;
  /** Ends the process by the signal that was received. */
  raise(): void;
}

/** A host on a terminal: answers on stdout, progress with time left and errors on stderr, Ctrl-C between two steps. */
export function nodeHost(json: boolean): NodeHost {
  const abort = new AbortController();
  const live = process.stderr.isTTY === true;
  let received: NodeJS.Signals | undefined;
  let started = performance.now();
  let phase = "";
  let shown = 0;
  let open = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (received !== undefined) return;
    received = signal;
    process.stderr.write(`${open ? "\n" : ""}Stopping after this step; nothing half-written stays.\n`);
    abort.abort(new EspalierError("request", signal, "expected to finish, was stopped."));
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  const endLine = (): void => {
    if (open) process.stderr.write("\n");
    open = false;
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
      if (step.phase !== phase) {
        endLine();
        phase = step.phase;
        started = now;
        shown = 0;
      } else if (now - shown < (live ? 100 : 5000) && step.done < step.total) return;
      shown = now;
      const line = progressLine(step, (now - started) / 1000);
      if (live) {
        process.stderr.write(`\r\u001b[2K${line}`);
        open = true;
      } else if (!json || step.total > 1) process.stderr.write(`${line}\n`);
    },
    writeText: async (path, text) => {
      const temporary = `${path}.${process.pid}.tmp`;
      try {
        await writeFile(temporary, text);
        await rename(temporary, path);
      } catch (cause) {
        await rm(temporary, { force: true });
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new EspalierError("file", path, `expected to write there, got: ${why}.`, "", { cause });
      }
    },
    fail: (error) => {
      endLine();
      if (json)
        process.stdout.write(
          `${JSON.stringify({ error: { code: error.code, where: error.where, message: error.message } })}\n`,
        );
      process.stderr.write(`espalier: ${error.message}\n`);
    },
    close: async () => {
      endLine();
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
    raise: () => {
      process.kill(process.pid, received ?? "SIGINT");
    },
  };
}

/** `calibrate 12/64, 8 s left`. */
function progressLine({ phase, done, total, detail }: Step, seconds: number): string {
  const count = total > 1 ? ` ${done}/${total}` : "";
  const left = done > 0 && done < total ? `, ${duration((seconds / done) * (total - done))} left` : "";
  return `${phase}${count}${left}${detail === undefined ? "" : ` (${detail})`}`;
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
