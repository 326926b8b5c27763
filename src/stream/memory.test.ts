import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fromTensors } from "../data/from-tensors.ts";
import { checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { phaseClock } from "../pipeline/phase-clock.ts";
import { planOf } from "../plans/settings.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { fromInts, toFloat32 } from "../tensor/numeric.ts";
import { load } from "../tensor/tensor.ts";
import { llamaCheckpoint } from "../testbeds/models/llama-checkpoint.ts";
import { hiddenOnDisk } from "./hidden-on-disk.node.ts";
import { memoryLayout } from "./memory.ts";
import { pruneCheckpoint } from "./prune-checkpoint.ts";
import { memoryWork } from "./work.ts";

let runtime: Runtime;
let folder = "";
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  folder = await mkdtemp(join(tmpdir(), "espalier-memory-"));
});
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
});

const model = checkpointModel(
  llamaCheckpoint({ vocabulary: 40, width: 64, layers: 2, heads: 4, kvHeads: 2, inner: 96 }),
);

it("hidden states on disk are those in memory, and the file goes away", async () => {
  const plan = planOf({ granularity: "weight", criterion: "wanda", scope: "row", sparsity: 0.5 }, 0);
  if (plan.kind !== "weights") expect.fail();
  const ids = Array.from({ length: 50 }, (_, i) => (i * 17) % 40);
  const calibration = fromTensors(new Map([["input_ids", fromInts("i64", [5, 10], ids)]]));
  const options = { runtime, calibration, batchSize: 2, clock: phaseClock() };
  const path = join(folder, "hidden");
  const held = await pruneCheckpoint(model, plan, { ...options, work: memoryWork() });
  const spilt = await pruneCheckpoint(model, plan, {
    ...options,
    work: memoryWork(),
    hidden: () => hiddenOnDisk(path),
  });
  for (const { name } of held.layers) {
    const [a, b] = [held, spilt].map(({ checkpoint }) => checkpoint.tensors.get(name) ?? expect.fail());
    expect(toFloat32(await load(a ?? expect.fail()))).toEqual(toFloat32(await load(b ?? expect.fail())));
  }
  expect(await readdir(folder)).toEqual([]);
});

it("a tighter memory runs fewer windows at once, then puts hidden states on disk, then says what it needs", async () => {
  const wanted = { windows: 4096, time: 128, needs: ["inputMeanSquare"], most: 16 } as const;
  const at = (bytes: number) => memoryLayout(model, runtime, wanted, bytes);
  const hidden = 4 * wanted.windows * wanted.time * 64;
  const free = await at(4e9);
  expect(free).toMatchObject({ batchSize: 16, spill: false });
  expect(free.bytes).toBeLessThan(4e9);
  const fewer = await at(free.bytes - 1);
  expect(fewer).toMatchObject({ batchSize: 15, spill: false });
  const less = await at(free.bytes - hidden);
  expect(less).toMatchObject({ batchSize: 16, spill: true });
  for (const { bytes, limit } of [
    { bytes: fewer.bytes, limit: free.bytes - 1 },
    { bytes: less.bytes, limit: free.bytes - hidden },
  ]) {
    expect(bytes).toBeLessThanOrEqual(limit);
  }
  await expect(at(1e8)).rejects.toThrow(/--memory: expected at least \d+ MB for one window of 128 tokens, got 100 MB/);
  const withGram = await memoryLayout(model, runtime, { ...wanted, needs: ["gram"] }, 4e9);
  expect(withGram.bytes).toBeGreaterThan(free.bytes);
});
