import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";
import { afterAll, beforeAll, expect, it } from "vitest";
import { saveCheckpoint } from "../../src/formats/checkpoint/save.node.ts";
import { random } from "../../src/tensor/random.ts";
import { llamaCheckpoint } from "../../src/testbeds/models/llama-checkpoint.ts";
import { prints, sizes } from "./endurance.ts";

const root = join(import.meta.dirname, "../..");
/** Where packages are found, and the one file that starts in a fraction of the time of its sources. */
const bundle = join(root, "node_modules/.cache", `espalier-kill-${process.pid}`);
const script = join(bundle, "prune-child.js");

/** Processes are started one after the other: a busy machine takes long. */
const patient = { timeout: 900_000 };

let folder = "";
let from = "";
beforeAll(async () => {
  const ssr = join(import.meta.dirname, "prune-child.ts");
  await build({ root, configFile: false, logLevel: "error", build: { ssr, outDir: bundle, emptyOutDir: true } });
  folder = await mkdtemp(join(tmpdir(), "espalier-kill-"));
  from = join(folder, "llama");
  await saveCheckpoint(llamaCheckpoint(sizes), from);
}, patient.timeout);
afterAll(async () => {
  for (const path of [folder, bundle]) await rm(path, { recursive: true, force: true });
});

/** A moment of a run: so many milliseconds behind a step, counted from 0. */
interface Moment {
  readonly step: number;
  readonly ms: number;
}

interface Ended {
  readonly killed: boolean;
  readonly steps: number;
  readonly ms: number;
}

/** Prunes in a process of its own, which is killed at a moment unless it is through by then. */
async function pruned(out: string, criterion: string, moment?: Moment): Promise<Ended> {
  const start = performance.now();
  const child = spawn(process.execPath, [script, from, out, criterion], { stdio: ["ignore", "ignore", "pipe", "ipc"] });
  let said = "";
  child.stderr?.on("data", (data: Buffer) => {
    said += data.toString();
  });
  let steps = 0;
  child.on("message", () => {
    if (steps++ === moment?.step) setTimeout(() => child.kill("SIGKILL"), moment.ms);
  });
  const [code, signal]: unknown[] = await once(child, "close");
  if (code !== 0 && signal !== "SIGKILL") throw new Error(`expected the process to be through, got ${code}: ${said}`);
  return { killed: signal === "SIGKILL", steps, ms: performance.now() - start };
}

/** How often each run is killed; a long check asks for more. */
const kills = Number(process.env["ESPALIER_KILLS"] ?? 10);

it.each([["wanda", kills], ["sparsegpt", kills], ...(kills > 10 ? [["gblm", kills] as const] : [])] as const)(
  "%s killed at %i moments of its run, and gone on with, gives the same bytes",
  patient,
  async (criterion, moments) => {
    const input = await prints(from);
    const whole = join(folder, criterion);
    const { steps, ms } = await pruned(whole, criterion);
    const expected = await prints(whole);
    expect([...expected.keys()]).toEqual(["README.md", "config.json", "model.safetensors"]);
    // One moment in each part of the run, in random order.
    const source = random(5, criterion);
    const order = [...source.permutation(moments)];
    let [run, killed, halfway] = [0, 0, 0];
    const goOn = async (moment?: Moment): Promise<boolean> => {
      const name = `${criterion}-${run}`;
      const ended = await pruned(join(folder, name), criterion, moment);
      if (ended.killed) killed++;
      // The process may be killed when all is done, and has to be gone on with when it is not.
      const work = join(folder, `.${name}.espalier`);
      const left = await readdir(work).catch((): string[] => []);
      if (left.includes("journal.jsonl")) halfway++;
      else if ((await readdir(folder)).includes(name)) {
        expect(await prints(join(folder, name))).toEqual(expected);
        for (const path of [join(folder, name), work]) await rm(path, { recursive: true, force: true });
        run++;
      }
      return ended.killed;
    };
    for (const part of order) {
      let step = Math.floor((part / moments) * steps) + source.int(Math.ceil(steps / moments));
      let wait = source.uniform() * (ms / steps);
      // What went on may be through before its moment, or before it heard of it: then it comes earlier.
      for (let tries = 0; tries < 5 && !(await goOn({ step, ms: wait })); tries++) {
        if (tries > 0) step = Math.floor(step / 2);
        wait /= 2;
      }
    }
    while (run === 0 || (await readdir(folder)).some((name) => name.startsWith("."))) await goOn();
    expect(killed).toBeGreaterThanOrEqual(moments - 2);
    expect(halfway).toBeGreaterThan(moments / 2);
    expect(await prints(from)).toEqual(input);
    expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
  },
);
