import { afterAll, beforeAll, expect, it } from "vitest";
import { fromTensors } from "../data/from-tensors.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { type HostTensor, load } from "../tensor/tensor.ts";
import { type DistortionCurve, outputDistortion } from "./output-distortion.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const samples = 10;
const normal = (shape: readonly number[], label: string): HostTensor => {
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  random(5, label).fillNormal(values);
  return float32Tensor(shape, values);
};
const inputs = normal([samples, 3], "x");
const data = () => fromTensors(new Map([["x", inputs]]));

/** y = relu(x · first) · second, and x · first as a second output. */
function network(): Graph {
  const g = builder("net", 17);
  const x = g.input("x", "f32", ["n", 3]);
  const inner = g.op("MatMul", [x, g.constant(normal([3, 4], "first"), "first")], {}, "inner");
  g.output(g.op("MatMul", [g.op("Relu", [inner]), g.constant(normal([4, 2], "second"), "second")], {}, "y"), "f32");
  g.output(inner, "f32");
  return g.finish();
}

/** Every weight times 1 - strength. */
const fade = async (name: string, strength: number): Promise<HostTensor> => {
  const ref = network().constants.get(name);
  if (ref === undefined) throw new Error(name);
  const tensor = await load(ref);
  return float32Tensor(
    tensor.shape,
    toFloat32(tensor).map((w) => w * (1 - strength)),
  );
};

/** Squared difference of both outputs per element for one sample, by hand, with one parameter faded. */
function byHand(sample: number, name: string, strength: number): number {
  const run = (a: number, b: number): number[] => {
    const first = toFloat32(normal([3, 4], "first"));
    const second = toFloat32(normal([4, 2], "second"));
    const x = toFloat32(inputs).subarray(3 * sample, 3 * sample + 3);
    const inner = [0, 1, 2, 3].map((j) => a * x.reduce((sum, v, i) => sum + v * (first[4 * i + j] ?? 0), 0));
    const y = [0, 1].map((k) => b * inner.reduce((sum, v, j) => sum + Math.max(0, v) * (second[2 * j + k] ?? 0), 0));
    return [...y, ...inner];
  };
  const dense = run(1, 1);
  const changed = name === "first" ? run(1 - strength, 1) : run(1, 1 - strength);
  return dense.reduce((sum, v, i) => sum + (v - (changed[i] ?? 0)) ** 2, 0) / dense.length;
}

const strengths = [0, 0.25, 1];
const measure = (over: "mean" | "worst", variant = fade): Promise<readonly DistortionCurve[]> =>
  outputDistortion(runtime, network(), ["first", "second"], strengths, variant, data(), { batchSize: 4, over });

it.each(["mean", "worst"] as const)("equals what two networks give by hand, over samples by the %s", async (over) => {
  for (const { parameter, points } of await measure(over)) {
    expect(points.map(({ strength }) => strength)).toEqual(strengths);
    for (const { strength, distortion } of points) {
      const each = Array.from({ length: samples }, (_, s) => byHand(s, parameter, strength));
      const wanted = over === "mean" ? each.reduce((a, b) => a + b, 0) / samples : Math.max(...each);
      expect(distortion).toBeCloseTo(wanted, 5);
    }
  }
});

it("a change that comes late or not at all would be found", async () => {
  const [first] = await measure("mean", (name, strength) => fade(name, strength / 2));
  const each = Array.from({ length: samples }, (_, s) => byHand(s, "first", 1));
  expect(first?.points[2]?.distortion).not.toBeCloseTo(each.reduce((a, b) => a + b, 0) / samples, 5);
  expect(first?.points[0]?.distortion).toBe(0);
});

it("is infinite where outputs are no numbers", async () => {
  const [first] = await measure("mean", async (name) => {
    const tensor = await fade(name, 0);
    return float32Tensor(tensor.shape, toFloat32(tensor).fill(Number.NaN));
  });
  expect(first?.points[1]?.distortion).toBe(Number.POSITIVE_INFINITY);
});

it("refuses parameters that are not there and variants of another form", async () => {
  const options = { batchSize: 4, over: "mean" } as const;
  await expect(outputDistortion(runtime, network(), ["third"], [1], fade, data(), options)).rejects.toMatchObject({
    code: "request",
    where: "third",
  });
  const small = () => Promise.resolve(float32Tensor([1], new Float32Array(1)));
  await expect(outputDistortion(runtime, network(), ["first"], [1], small, data(), options)).rejects.toThrow(
    "expected f32 [3, 4], got f32 [1]",
  );
});

it("stops between two runs when it is told to", async () => {
  const stop = new AbortController();
  let runs = 0;
  const variant = (name: string, strength: number) => {
    if (++runs === 2) stop.abort();
    return fade(name, strength);
  };
  const job = { batchSize: 4, over: "mean", signal: stop.signal } as const;
  await expect(
    outputDistortion(runtime, network(), ["first"], [0.1, 0.2, 0.3], variant, data(), job),
  ).rejects.toThrow();
  expect(runs).toBe(2);
});
