import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const entry = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** Whether the command line was built. */
export const isBuilt = existsSync(entry);

/** How a run of the command line ended, and what was seen of it from outside. */
export interface Watched {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  /** Seconds on the clock and of processor time. */
  readonly seconds: { readonly clock: number; readonly cpu: number };
  /** The largest anonymous memory that was seen. */
  readonly bytes: number;
}

/** Runs the built command line and looks at it every few milliseconds, on Linux. It is interrupted once it is `enough`. */
export function watched(args: readonly string[], enough?: () => boolean): Promise<Watched> {
  const start = performance.now();
  const child = spawn(process.execPath, [entry, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  let [bytes, cpu] = [0, 0];
  const look = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      bytes = Math.max(bytes, 1024 * Number(/RssAnon:\s*(\d+)/.exec(status)?.[1] ?? 0));
      const stat = readFileSync(`/proc/${child.pid}/stat`, "utf8");
      // Behind the name in brackets: state, and from the 12th field on the ticks, 100 a second, in the process and the system.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      cpu = Math.max(cpu, (Number(fields[11]) + Number(fields[12])) / 100);
    } catch {
      // It is over.
    }
  }, 5);
  const ask = setInterval(() => {
    if (enough?.() === true) child.kill("SIGINT");
  }, 500);
  return new Promise((resolve) => {
    child.on("close", (code) => {
      clearInterval(look);
      clearInterval(ask);
      resolve({ code, out, err, bytes, seconds: { clock: (performance.now() - start) / 1000, cpu } });
    });
  });
}

/** The smallest memory that a run is accepted with, by what it is told where it is given too little. */
export async function leastMemory(args: readonly string[]): Promise<number> {
  const { err } = await watched([...args, "--memory", "1MB"]);
  const least = /expected at least (\d+) MB/.exec(err)?.[1];
  if (least === undefined) throw new Error(`expected to be told the least memory, got: ${err}`);
  return Number(least) * 1e6;
}
