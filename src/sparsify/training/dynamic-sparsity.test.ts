import { afterAll, describe, expect, it } from "vitest";
import { sized } from "../../autodiff/sized.ts";
import { fromTensors } from "../../data/from-tensors.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { crossEntropy } from "../../train/objectives/losses.ts";
import { adam } from "../../train/optimisers/adam.ts";
import { gradientProbe, type StepDefinition, slotName, trainSteps } from "../../train/step.ts";
import { type TrainOptions, train } from "../../train/train.ts";
import { openTrainer, type Snapshot, withState } from "../../train/trainer.ts";
import { dynamicSparsity, type SparsityProgramme } from "./dynamic-sparsity.ts";
import { gradualMagnitude, granet, rigl, set, staticRandom } from "./programmes.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

const [batchSize, wide, classes, updates] = [8, 12, 3, 40];
const shapes = new Map([
  ["w1", [4, wide]],
  ["w2", [wide, classes]],
]);
const total = 4 * wide + wide * classes;

function network(): Graph {
  const g = builder("net");
  const weights = (shape: readonly number[], name: string): string => {
    const values = new Float32Array(shape.reduce((n, dim) => n * dim, 1));
    random(3, name).fillNormal(values, 0, 0.5);
    return g.float32([...values], [...shape], name);
  };
  g.input("x", "f32", ["n", 4]);
  const hidden = g.op("Tanh", [g.op("MatMul", ["x", weights([4, wide], "w1")])]);
  g.output(g.op("MatMul", [hidden, weights([wide, classes], "w2")], {}, "logits"), "f32", ["n", classes]);
  return g.finish();
}

const points = new Float32Array(64 * 4);
random(5, "points").fillNormal(points);
const labels = Int32Array.from({ length: 64 }, (_, i) =>
  (points[4 * i] ?? 0) > 0 ? 1 : (points[4 * i + 1] ?? 0) > 0 ? 2 : 0,
);
const data = fromTensors(new Map([["x", float32Tensor([64, 4], points)]]), labels, "points");

async function definitionOf(graph = network()): Promise<StepDefinition> {
  return {
    model: await sized(graph, runtime, new Map([["x", { dtype: "f32", shape: [batchSize, 4] }]])),
    groups: [{ parameters: ["w1", "w2"], optimiser: adam() }],
    loss: ({ g, outputs: [y], input }) => crossEntropy(g, y ?? expect.fail(), input("labels", "i32", [batchSize])),
  };
}

async function trained(programme: SparsityProgramme, changes: Partial<TrainOptions> = {}, stop = updates) {
  const definition = await definitionOf();
  const engine = dynamicSparsity(definition, shapes, programme, { seed: 1, updates });
  const run = await train({
    ...{ runtime, data, labels: "labels", batchSize, rate: 0.02, seed: 1 },
    steps: trainSteps({ ...definition, masks: engine.masks }),
    updates,
    until: stop,
    afterUpdate: engine.afterUpdate,
    ...changes,
  });
  return { ...run, engine };
}

const valuesOf = (tensors: ReadonlyMap<string, HostTensor>, name: string) =>
  toFloat32(tensors.get(name) ?? expect.fail());
const alive = (last: Snapshot, name: string) => valuesOf(last.tensors, slotName("mask", name));
const kept = (last: Snapshot) =>
  [...shapes.keys()].reduce((n, name) => n + alive(last, name).reduce((a, b) => a + b, 0), 0);

/** Nothing that is masked holds anything, neither a value nor a moment. */
function expectDiscipline(last: Snapshot): void {
  for (const name of shapes.keys()) {
    const mask = alive(last, name);
    for (const key of [name, slotName("mean", name), slotName("square", name)]) {
      const values = valuesOf(last.tensors, key);
      for (const [i, bit] of mask.entries()) if (bit === 0) expect(Math.abs(values[i] ?? 1)).toBe(0);
    }
  }
}

const programmes: readonly (readonly [string, SparsityProgramme, number])[] = [
  ["gradual, by layer", gradualMagnitude({ sparsity: 0.75, changes: 10 }), 0.75],
  ["gradual, LAMP", gradualMagnitude({ sparsity: 0.8, scope: "lamp", changes: 10 }), 0.8],
  ["static", staticRandom({ sparsity: 0.6 }), 0.6],
  ["SET", set({ sparsity: 0.6, changes: 10 }), 0.6],
  ["RigL", rigl({ sparsity: 0.6, changes: 10 }), 0.6],
  ["GraNet from dense", granet({ sparsity: 0.8, changes: 10 }), 0.8],
  ["GraNet from half", granet({ sparsity: 0.8, initial: 0.5, changes: 10 }), 0.8],
];

describe.each(programmes)("%s", (_, programme, sparsity) => {
  it("ends at its sparsity, with nothing left of what is masked", async () => {
    const { last } = await trained(programme);
    expect(Math.abs(kept(last) - (1 - sparsity) * total)).toBeLessThanOrEqual(1);
    expectDiscipline(last);
  });

  it("goes on from a snapshot as if it had never stopped", async () => {
    const whole = await trained(programme);
    const half = await trained(programme, {}, 18);
    const rest = await trained(programme, { resume: half.last });
    for (const [name, tensor] of whole.last.tensors)
      expect(Buffer.from(rest.last.tensors.get(name)?.bytes ?? []).equals(tensor.bytes)).toBe(true);
  });
});

describe("exchanges", () => {
  it("keep every layer's density and move masks, by gradient where that is asked", async () => {
    for (const programme of [set({ sparsity: 0.6, changes: 10 }), rigl({ sparsity: 0.6, changes: 10 })]) {
      const { engine } = await trained(programme);
      const [first = expect.fail(), ...rest] = engine.journal;
      expect(rest.length).toBeGreaterThan(4);
      for (const { layers } of rest) expect([...layers]).toEqual([...first.layers]);
      expect(engine.journal.reduce((sum, { grown }) => sum + grown, 0)).toBeGreaterThan(0);
      // After three quarters of the run nothing moves.
      expect(Math.max(...engine.journal.map(({ update }) => update))).toBeLessThan(30);
    }
  });

  it("a ramp only removes", async () => {
    const { engine } = await trained(gradualMagnitude({ sparsity: 0.9, scope: "global", changes: 20 }));
    expect(engine.journal.every(({ grown }) => grown === 0)).toBe(true);
    const sparsities = engine.journal.map(({ sparsity }) => sparsity);
    expect(sparsities).toEqual([...sparsities].sort((a, b) => a - b));
    expect(sparsities.length).toBeGreaterThan(8);
  });
});

it("a probe gives the gradient at the masked weights, of the masked ones too", async () => {
  const mask = new Map([
    [
      "w1",
      float32Tensor(
        [4, wide],
        Float32Array.from({ length: 4 * wide }, (_, i) => (i % 3 === 0 ? 0 : 1)),
      ),
    ],
  ]);
  const graph = network();
  const w1 = toFloat32({ dtype: "f32", shape: [4, wide], bytes: graph.constants.get("w1")?.resident ?? expect.fail() });
  const zeroed = w1.map((value, i) => (i % 3 === 0 ? 0 : value));
  const batch = await data.gather(Int32Array.from({ length: batchSize }, (_, i) => i));
  const feeds = new Map([...batch.inputs]);
  feeds.set("labels", {
    dtype: "i32",
    shape: [batchSize],
    bytes: new Uint8Array((batch.labels ?? labels).buffer.slice(0, 4 * batchSize)),
  });
  const of = async (definition: StepDefinition) => {
    const trainer = await openTrainer(runtime, trainSteps(definition));
    const found = await trainer.probe(gradientProbe(definition, ["w1"]), feeds);
    await trainer.release();
    return valuesOf(found, "w1");
  };
  const masked = await of({ ...(await definitionOf()), masks: mask });
  const plain = await of(await definitionOf(withState(graph, new Map([["w1", float32Tensor([4, wide], zeroed)]]))));
  for (const [i, value] of plain.entries()) expect(masked[i]).toBeCloseTo(value, 6);
  expect(masked.filter((value, i) => i % 3 === 0 && Math.abs(value) > 1e-4).length).toBeGreaterThan(8);
  const dense = await of(await definitionOf());
  expect(() => expect([...masked].map((v) => v.toFixed(5))).toEqual([...dense].map((v) => v.toFixed(5)))).toThrow();
});
