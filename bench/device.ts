/**
 * A device beside the processor of the same machine: whether pruning and training give the same, and how long they take.
 * Usage: npx tsx bench/device.ts [--device webgpu] [--updates 20] [--models mlp,resnet20,llama] [--threads N]
 */
import { parseArgs } from "node:util";
import { type Device, openRuntime, openTrainer, type Runtime, sized, trainSteps } from "../src/index.node.ts";
import { pruneOn } from "../test/webgpu/job.ts";
import { trainOn } from "../test/webgpu/train-job.ts";
import { trainBenches } from "./train-step-models.ts";

const { values: options } = parseArgs({
  options: {
    device: { type: "string", default: "webgpu" },
    updates: { type: "string", default: "20" },
    models: { type: "string", default: "mlp,resnet20,llama" },
    threads: { type: "string", default: "2" },
  },
});
const devices: readonly Device[] = ["wasm", "webgpu", "cuda"];
const device = devices.find((known) => known === options.device);
if (device === undefined) throw new Error(`expected one of ${devices.join(", ")}, got ${options.device}`);
const threads = Number(options.threads);
const [cpu, other] = [
  await openRuntime({ threads, worker: false }),
  await openRuntime({ device, threads, worker: false }),
];

const furthest = (a: readonly number[], b: readonly number[]): number =>
  a.length === b.length ? Math.max(...a.map((x, i) => Math.abs(x - (b[i] ?? Number.NaN)))) : Number.NaN;
const median = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[times.length >> 1] ?? Number.NaN;

const [here, there] = [await pruneOn(cpu), await pruneOn(other)];
for (const [i, found] of there.entries()) {
  const expected = here[i];
  if (expected === undefined) continue;
  const same = JSON.stringify(expected.masks) === JSON.stringify(found.masks);
  console.log(
    `prune by ${found.criterion}: masks ${same ? "equal" : "DIFFERENT"}, outputs apart by ${furthest(expected.original, found.original).toExponential(1)} before and ${furthest(expected.pruned, found.pruned).toExponential(1)} after`,
  );
}
const [ours, theirs] = [await trainOn(cpu), await trainOn(other)];
console.log(`LeNet-5, five updates: losses apart by ${furthest(ours, theirs).toExponential(1)}`);

console.log(`\n| train step | cpu, ${threads} threads, ms | ${device}, ms | losses apart |\n| --- | --- | --- | --- |`);
for (const name of options.models.split(",")) {
  const [a, b] = [await run(cpu, name), await run(other, name)];
  console.log(
    `| ${name} | ${median(a.times).toFixed(1)} | ${median(b.times).toFixed(1)} | ${furthest(a.losses, b.losses).toExponential(1)} |`,
  );
}
await cpu.close();
await other.close();

/** Losses and times of a few updates on the same batch. */
async function run(runtime: Runtime, name: string): Promise<{ losses: number[]; times: number[] }> {
  const bench = trainBenches[name];
  if (bench === undefined) throw new Error(`expected one of ${Object.keys(trainBenches).join(", ")}, got ${name}`);
  const { graph, types, feeds, rate, ...rest } = bench();
  const [step] = trainSteps({ ...rest, model: await sized(graph, runtime, types) });
  if (step === undefined) throw new Error("expected a step");
  const trainer = await openTrainer(runtime, [step]);
  const [losses, times]: [number[], number[]] = [[], []];
  for (let i = 0; i < Number(options.updates); i++) {
    const start = performance.now();
    losses.push((await trainer.run(step, feeds, rate)).get("loss") ?? Number.NaN);
    times.push(performance.now() - start);
  }
  await trainer.release();
  return { losses, times };
}
