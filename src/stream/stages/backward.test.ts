import { afterAll, beforeAll, expect, it } from "vitest";
import { indexed } from "../../data/dataset.ts";
import { checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { likelihood } from "../../stats/answers/likelihood.ts";
import { collectGradients } from "../../stats/gradients/gradients.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { type HostTensor, load, refOf, type TensorRef } from "../../tensor/tensor.ts";
import { madeUpText } from "../../testbeds/made-up-text.ts";
import { llamaCheckpoint } from "../../testbeds/models/llama-checkpoint.ts";
import { hiddenInMemory } from "../memory/hidden-states.ts";
import { versionsInMemory } from "../memory/parameter-versions.ts";
import { streamGradients } from "./backward.ts";
import { stageKinds } from "./stage-kinds.ts";

const sizes = { vocabulary: 30, width: 16, layers: 3, heads: 2, kvHeads: 1, inner: 24 };
const time = 9;
const text = madeUpText(4, time, sizes.vocabulary, 5);

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

function distance(a: Float32Array, b: Float32Array): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    difference += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
    size += (b[i] ?? 0) ** 2;
  }
  return Math.sqrt(difference / size);
}

/** The same windows; of each other one only the last places count. */
const answers: typeof text = indexed({
  ...text,
  gather: async (positions) => {
    const batch = await text.gather(positions);
    const counts = (i: number): boolean => (positions[Math.floor(i / time)] ?? 0) % 2 === 0 || i % time > 5;
    return { ...batch, labels: Int32Array.from(batch.labels ?? [], (label, i) => (counts(i) ? label : -1)) };
  },
});

it("the gradient is that of the mean over all labels that count, whatever the batches", async () => {
  const { graph } = checkpointModel(llamaCheckpoint(sizes, "f32")).graph();
  const name = "model.layers.1.mlp.down_proj.weight";
  const loss = async (at: number, by: number): Promise<number> => {
    const ref = graph.constants.get(name) ?? expect.fail();
    const values = toFloat32(await load(ref)).slice();
    values[at] = (values[at] ?? 0) + by;
    const constants = new Map([...graph.constants, [name, refOf(float32Tensor(ref.shape, values))]]);
    const { nll, count } = await likelihood(runtime, { ...graph, constants }, answers, { batchSize: 4 });
    expect(count).toBe(2 * (time - 1) + 2 * 2);
    return nll / count;
  };
  const found = await Promise.all(
    [1, 3, 4].map((batchSize) => collectGradients(runtime, graph, [name], ["gradient"], answers, { batchSize })),
  );
  const gradients = found.map((one) => one.get(name)?.gradient ?? expect.fail());
  for (const at of [0, 57, 200]) {
    const slope = ((await loss(at, 0.02)) - (await loss(at, -0.02))) / 0.04;
    for (const own of gradients) expect(own[at]).toBeCloseTo(slope, 4);
  }
  for (const own of gradients) expect(distance(own, gradients[0] ?? own)).toBeLessThan(1e-5);
  const [whole] = [await collectGradients(runtime, graph, [name], ["gradient"], text, { batchSize: 4 })];
  expect(distance(whole.get(name)?.gradient ?? expect.fail(), gradients[0] ?? expect.fail())).toBeGreaterThan(0.1);
});

it.each([
  ["gradientSquare", "f32", text],
  ["gradientMagnitude", "f32", text],
  ["gradient", "f32", text],
  ["gradient", "f32", answers],
  ["gradientSquare", "f32", answers],
  ["gradientSquare", "bf16", text],
] as const)("backward stage by stage is backward through the whole graph: %s, %s", async (need, dtype, data) => {
  const model = checkpointModel(llamaCheckpoint(sizes, dtype));
  const kinds = stageKinds(model, runtime);
  const targets = model.stages
    .filter(({ role }) => role === "block")
    .map((stage) => ({
      placed: kinds.place(stage),
      parameters: new Set([...stage.parameters.keys()].filter((name) => name.endsWith("proj.weight"))),
    }));
  const found = new Map<string, HostTensor>();
  const store = {
    ...versionsInMemory().of("gradients"),
    put: async (_: string, means: ReadonlyMap<string, HostTensor>) => {
      for (const [name, mean] of means) found.set(name, mean);
    },
  };
  await streamGradients(model, kinds, targets, need, data, store, { runtime, hidden: hiddenInMemory });
  await kinds.release();
  const names = targets.flatMap(({ parameters }) => [...parameters]);
  expect([...found.keys()].sort()).toEqual([...names].sort());
  const decoded = new Map<string, TensorRef>();
  for (const [name, ref] of model.checkpoint.tensors) {
    decoded.set(name, refOf(float32Tensor(ref.shape, toFloat32(await load(ref)))));
  }
  const { graph } = checkpointModel({ ...model.checkpoint, tensors: decoded }).graph();
  const whole = await collectGradients(runtime, graph, names, [need], data, { batchSize: 1 });
  for (const name of names) {
    const own = toFloat32(found.get(name) ?? expect.fail());
    const other = whole.get(name)?.[need] ?? expect.fail();
    expect(distance(own, other)).toBeLessThan(1e-4);
  }
  const [a = "", b = ""] = ["model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.q_proj.weight"];
  const exchanged = distance(toFloat32(found.get(a) ?? expect.fail()), whole.get(b)?.[need] ?? expect.fail());
  expect(exchanged).toBeGreaterThan(0.1);
});
