import { afterAll, describe, expect, it } from "vitest";
import { sized } from "../autodiff/sized.ts";
import { fromTensors } from "../data/from-tensors.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { crossEntropy, meanSquareError } from "./objectives/losses.ts";
import { adam } from "./optimisers/adam.ts";
import { sgd } from "./optimisers/sgd.ts";
import { type StepDefinition, slotName, trainSteps } from "./step.ts";
import { type TrainOptions, train } from "./train.ts";
import { openTrainer, withState } from "./trainer.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

const batchSize = 8;

/** x [n, 2] → 6 → tanh → 2 classes. */
function network(): Graph {
  const g = builder("net");
  const weights = (n: number, label: string): number[] => {
    const values = new Float32Array(n);
    random(3, label).fillNormal(values, 0, 0.5);
    return [...values];
  };
  g.input("x", "f32", ["n", 2]);
  const hidden = g.op("Gemm", ["x", g.float32(weights(12, "a"), [2, 6], "w1"), g.float32(weights(6, "b"), [6], "b1")]);
  const active = g.op("Tanh", [hidden]);
  g.output(
    g.op("Gemm", [active, g.float32(weights(12, "c"), [6, 2], "w2"), g.float32([0, 0], [2], "b2")], {}, "logits"),
    "f32",
    ["n", 2],
  );
  return g.finish();
}

/** Two classes apart by the sign of a product: not linearly separable. */
function quadrants(count: number) {
  const values = new Float32Array(count * 2);
  random(5, "points").fillNormal(values);
  const labels = Int32Array.from({ length: count }, (_, i) =>
    (values[2 * i] ?? 0) * (values[2 * i + 1] ?? 0) > 0 ? 1 : 0,
  );
  return fromTensors(new Map([["x", float32Tensor([count, 2], values)]]), labels, "quadrants");
}

const names = ["w1", "b1", "w2", "b2"];

async function definition(size = batchSize, changes: Partial<StepDefinition> = {}): Promise<StepDefinition> {
  const model = await sized(network(), runtime, new Map([["x", { dtype: "f32", shape: [size, 2] }]]));
  return {
    model,
    groups: [{ parameters: names, optimiser: adam() }],
    loss: ({ g, outputs: [logits], input }) => crossEntropy(g, logits ?? expect.fail(), input("labels", "i32", [size])),
    ...changes,
  };
}

async function options(changes: Partial<TrainOptions> = {}, of?: StepDefinition): Promise<TrainOptions> {
  return {
    runtime,
    steps: trainSteps(of ?? (await definition())),
    data: quadrants(64),
    labels: "labels",
    batchSize,
    updates: 20,
    rate: 0.02,
    seed: 1,
    ...changes,
  };
}

const bytesOf = (tensors: ReadonlyMap<string, { readonly bytes: Uint8Array }>) =>
  [...tensors].map(([name, { bytes }]) => `${name} ${Buffer.from(bytes).toString("hex")}`).sort();

describe("a train step", () => {
  it("is gradient descent: a line's slope follows the closed form", async () => {
    const g = builder("line");
    g.input("x", "f32", ["n", 1]);
    g.output(g.op("MatMul", ["x", g.float32([0.5], [1, 1], "w")], {}, "y"), "f32", ["n", 1]);
    const model = await sized(g.finish(), runtime, new Map([["x", { dtype: "f32", shape: [2, 1] }]]));
    const [step] = trainSteps({
      model,
      groups: [{ parameters: ["w"], optimiser: sgd({ momentum: 0.9 }) }],
      loss: (c) => meanSquareError(c.g, c.outputs[0] ?? expect.fail(), c.input("t", "f32", [2, 1])),
    });
    const trainer = await openTrainer(runtime, [step ?? expect.fail()]);
    const feeds = new Map([
      ["x", float32Tensor([2, 1], Float32Array.of(1, 2))],
      ["t", float32Tensor([2, 1], Float32Array.of(2, 4))],
    ]);
    let [w, speed] = [0.5, 0];
    for (let i = 0; i < 3; i++) {
      const found = await trainer.run(step ?? expect.fail(), feeds, 0.1);
      expect(found.get("loss")).toBeCloseTo(((w - 2) ** 2 + (2 * w - 4) ** 2) / 2, 5);
      speed = 0.9 * speed + (2 * (w - 2) + 4 * (2 * w - 4)) / 2;
      w -= 0.1 * speed;
      expect(toFloat32((await trainer.get(["w"])).get("w") ?? expect.fail())[0]).toBeCloseTo(w, 5);
    }
    await trainer.release();
  });

  it("learns", async () => {
    const { points, last } = await train(await options({ updates: 300, rate: 0.03 }));
    const mean = (from: number, to: number) =>
      points.slice(from, to).reduce((sum, { reports }) => sum + (reports.get("loss") ?? Number.NaN), 0) / (to - from);
    expect(mean(0, 10)).toBeGreaterThan(0.6);
    expect(mean(290, 300)).toBeLessThan(0.15);
    const trained = withState(network(), last.tensors);
    expect([...trained.constants.keys()].sort()).toEqual([...network().constants.keys()].sort());
  });

  it("resumed from a snapshot gives the bytes of a run that never stopped", async () => {
    const whole = await train(await options());
    const half = await train(await options({ updates: 11 }));
    const rest = await train(await options({ resume: half.last }));
    expect(bytesOf(rest.last.tensors)).toEqual(bytesOf(whole.last.tensors));
    expect(bytesOf(half.last.tensors)).not.toEqual(bytesOf(whole.last.tensors));
  });

  it.each([2, 4])("over a batch in %i parts is the step over the whole batch", async (parts) => {
    const group = { parameters: names, optimiser: sgd({ momentum: 0.9, decay: 0.01 }) };
    const whole = await train(await options({ updates: 6 }, await definition(8, { groups: [group] })));
    const divided = await definition(8 / parts, { groups: [group], accumulate: parts });
    const together = await train(await options({ updates: 6, batchSize: 8 / parts }, divided));
    expect(together.work).toMatchObject({ samples: whole.work.samples });
    for (const name of names) {
      const [a, b] = [whole, together].map(({ last }) => toFloat32(last.tensors.get(name) ?? expect.fail()));
      for (const [i, value] of (a ?? []).entries()) expect(b?.[i]).toBeCloseTo(value, 5);
    }
  });

  it("keeps masked weights, and what is remembered of them, at zero", async () => {
    const mask = float32Tensor(
      [2, 6],
      Float32Array.from({ length: 12 }, (_, i) => (i % 3 === 0 ? 0 : 1)),
    );
    const groups = [{ parameters: names, optimiser: adam({ decay: 0.1 }) }];
    const { last } = await train(
      await options({}, await definition(batchSize, { groups, masks: new Map([["w1", mask]]) })),
    );
    for (const name of ["w1", slotName("mean", "w1"), slotName("square", "w1")]) {
      const values = toFloat32(last.tensors.get(name) ?? expect.fail());
      for (const [i, value] of values.entries()) expect(value === 0).toBe(i % 3 === 0);
    }
  });

  it("stops at a value that is not finite, says where it came from, and leaves the state as it was", async () => {
    const one = await definition();
    const steps = trainSteps({
      ...one,
      loss: (c) => c.g.log(c.g.neg(c.g.square(c.g.sum(c.outputs[0] ?? expect.fail())))),
    });
    const trainer = await openTrainer(runtime, steps);
    const before = bytesOf((await trainer.snapshot()).tensors);
    const feeds = new Map([["x", float32Tensor([batchSize, 2], new Float32Array(2 * batchSize).fill(1))]]);
    await expect(trainer.run(steps[0] ?? expect.fail(), feeds, 0.1)).rejects.toThrow(
      /update 1: .*NaN first in the result of Log/,
    );
    expect(bytesOf((await trainer.snapshot()).tensors)).toEqual(before);
    await trainer.release();
  });

  it("reaches small parameters behind operators that move them", async () => {
    const g = builder("moved");
    g.input("x", "f32", ["n", 2]);
    const turned = g.op("Transpose", [g.float32([1, 2, 3, 4], [2, 2], "w")], {});
    g.output(g.op("MatMul", ["x", turned], {}, "y"), "f32", ["n", 2]);
    const model = await sized(g.finish(), runtime, new Map([["x", { dtype: "f32", shape: [1, 2] }]]));
    const [step] = trainSteps({
      model,
      groups: [{ parameters: ["w"], optimiser: sgd({ momentum: 0 }) }],
      loss: (c) => c.g.sum(c.outputs[0] ?? expect.fail()),
    });
    const trainer = await openTrainer(runtime, [step ?? expect.fail()]);
    await trainer.run(step ?? expect.fail(), new Map([["x", float32Tensor([1, 2], Float32Array.of(1, 10))]]), 0.1);
    const w = toFloat32((await trainer.get(["w"])).get("w") ?? expect.fail());
    for (const [i, value] of [0.9, 1, 2.9, 3].entries()) expect(w[i]).toBeCloseTo(value, 5);
    await trainer.release();
  });

  it("clips the norm of all gradients together", async () => {
    const free = await train(
      await options(
        { updates: 1 },
        await definition(8, { groups: [{ parameters: names, optimiser: sgd({ momentum: 0 }) }], clip: 1e9 }),
      ),
    );
    const tight = await train(
      await options(
        { updates: 1, rate: 1 },
        await definition(8, { groups: [{ parameters: names, optimiser: sgd({ momentum: 0 }) }], clip: 0.01 }),
      ),
    );
    const norm = free.points[0]?.reports.get("gradientNorm") ?? Number.NaN;
    expect(norm).toBeGreaterThan(0.02);
    const start = await openTrainer(runtime, trainSteps(await definition()));
    const before = await start.get(names);
    await start.release();
    let moved = 0;
    for (const name of names) {
      const from = toFloat32(before.get(name) ?? expect.fail());
      const to = toFloat32(tight.last.tensors.get(name) ?? expect.fail());
      for (const [i, value] of to.entries()) moved += (value - (from[i] ?? 0)) ** 2;
    }
    expect(Math.sqrt(moved)).toBeCloseTo(0.01, 4);
  });

  it.each([
    [
      "a loss of several numbers",
      (c: Parameters<StepDefinition["loss"]>[0]) => c.outputs[0] ?? expect.fail(),
      /loss of one number, got \[8,2\]|loss of one number/,
    ],
    [
      "a parameter that does not reach the loss",
      (c: Parameters<StepDefinition["loss"]>[0]) => c.g.sum(c.of("x")),
      /parameter "w1"/,
    ],
  ] as const)("refuses %s", async (_, loss, message) => {
    const one = await definition();
    expect(() => trainSteps({ ...one, loss })).toThrow(message);
  });
});
