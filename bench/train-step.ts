/**
 * Whole train steps (forward, loss, gradients, update) beside PyTorch on the same machine, in turns: MLP and ResNet-20 with
 * SGD, a Llama-shaped decoder with AdamW. Needs python3-torch; without it only espalier's times are printed.
 * Usage: npx tsx bench/train-step.ts [--models mlp,llama,resnet20] [--rounds 5] [--threads 2] [--python python3] [--profile]
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { openRuntime, openTrainer, type StepDefinition, sized, trainSteps } from "../src/index.node.ts";
import { trainBenches } from "./train-step-models.ts";

const { values: options } = parseArgs({
  options: {
    models: { type: "string", default: "mlp,llama,resnet20" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "2" },
    python: { type: "string", default: "python3" },
    plain: { type: "boolean", default: false },
  },
});
const threads = Number(options.threads);

/** PyTorch behind a pipe; null where it is not installed. */
async function openTorch(): Promise<((name: string, count: number) => Promise<readonly number[]>) | null> {
  const script = join(import.meta.dirname, "train_step.py");
  const child: ChildProcessWithoutNullStreams = spawn(options.python, [script, options.threads], {
    env: { ...process.env, OPENBLAS_NUM_THREADS: options.threads, OMP_NUM_THREADS: options.threads },
  });
  const lines = createInterface({ input: child.stdout });
  let failed = "";
  child.stderr.on("data", (text) => {
    failed += String(text);
  });
  const ended = new Promise<null>((done) => child.once("exit", () => done(null)));
  const next = (): Promise<string | null> =>
    Promise.race([new Promise<string>((done) => lines.once("line", done)), ended]);
  const ask = async (name: string, count: number): Promise<readonly number[]> => {
    child.stdin.write(`${name} ${count}\n`);
    const line = await next();
    if (line === null) throw new Error(failed.trim().split("\n").at(-1) ?? "ended");
    const times: unknown = JSON.parse(line);
    return Array.isArray(times) ? times.map(Number) : [];
  };
  try {
    await ask("mlp", 1);
    process.once("exit", () => child.kill());
    return ask;
  } catch (cause) {
    console.error(`no PyTorch: ${cause instanceof Error ? cause.message : cause}`);
    return null;
  }
}

const median = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[times.length >> 1] ?? Number.NaN;

const runtime = await openRuntime({ threads, worker: false });
const torch = await openTorch();
console.log("| model | espalier, ms | PyTorch, ms | ratio |\n| --- | --- | --- | --- |");
for (const name of options.models.split(",")) {
  const bench = trainBenches[name];
  if (bench === undefined) throw new Error(`expected one of ${Object.keys(trainBenches).join(", ")}, got ${name}`);
  const { graph, types, feeds, loss, groups, prepare, rate } = bench();
  const model = await sized(graph, runtime, types);
  const definition: StepDefinition = {
    model,
    channelBlock: options.plain ? 0 : runtime.channelBlock,
    loss,
    groups,
    ...(prepare === undefined ? {} : { prepare }),
  };
  const [step] = trainSteps(definition);
  if (step === undefined) continue;
  const trainer = await openTrainer(runtime, [step]);
  await trainer.run(step, feeds, rate);
  await trainer.run(step, feeds, rate);
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < Number(options.rounds); round++) {
    const start = performance.now();
    await trainer.run(step, feeds, rate);
    ours.push(performance.now() - start);
    // Threads of either side spin for a while when they are done, and would take the other's processors.
    await setTimeout(200);
    theirs.push(...((await torch?.(name, 1)) ?? []));
    await setTimeout(200);
  }
  await trainer.release();
  const [a, b] = [median(ours), median(theirs)];
  console.log(`| ${name} | ${a.toFixed(1)} | ${b.toFixed(1)} | ${(a / b).toFixed(2)} |`);
}
await runtime.close();
process.exit();
