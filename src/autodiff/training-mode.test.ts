import { afterAll, describe, expect, it } from "vitest";
import { type Algebra, algebra, type Value } from "../graph/algebra/algebra.ts";
import { float, int } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { removeDeadCode } from "../graph/passes/dead-code.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { fromFloats, toFloat64 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { gradient } from "./gradient.ts";
import { composeAll } from "./lower.ts";
import { sized } from "./sized.ts";
import { trainingMode } from "./training-mode.ts";

const epsilon = 1e-3;

function drawn(shape: readonly number[], seed: number, offset = 0): Float64Array {
  const values = new Float64Array(sizeOf(shape));
  random(seed, "numbers").fillNormal(values);
  return Float64Array.from(values, (value) => Math.fround(value + offset));
}

/** One BatchNormalization over x: [n, channels, ...], with constants s, b, m, v. */
function graphOf(shape: readonly number[], training: boolean): Graph {
  const draft = builder("norm", 15);
  draft.input("x", "f32", shape);
  for (const [i, name] of ["s", "b", "m", "v"].entries()) {
    const values = drawn([shape[1] ?? 1], 10 + i, 1).map((value) => (name === "v" ? Math.abs(value) + 0.5 : value));
    draft.setConstant(name, fromFloats("f32", [values.length], values));
  }
  const outputs = training ? ["y", "m1", "v1"] : ["y"];
  const attributes = { epsilon: float(epsilon), momentum: float(0.8), ...(training ? { training_mode: int(1) } : {}) };
  draft.op("BatchNormalization", ["x", "s", "b", "m", "v"], attributes, outputs);
  for (const name of outputs) draft.output(name, "f32");
  return draft.finish();
}

/** Mean and biased variance of each channel, as sums in float64. */
function statistics(x: Float64Array, shape: readonly number[]): { mean: number[]; variance: number[]; count: number } {
  const [batch = 1, channels = 1] = shape;
  const inner = sizeOf(shape.slice(2));
  const of = (f: (value: number, channel: number) => number): number[] => {
    const sums = new Array<number>(channels).fill(0);
    for (const [i, value] of x.entries()) {
      const channel = Math.floor(i / inner) % channels;
      sums[channel] = (sums[channel] ?? 0) + f(value, channel) / (batch * inner);
    }
    return sums;
  };
  const mean = of((value) => value);
  return { mean, variance: of((value, c) => (value - (mean[c] ?? 0)) ** 2), count: batch * inner };
}

const asItIs = (_: Algebra, value: Value): Value => value;

describe("norms with the statistics of their batch", async () => {
  const runtime = await openRuntime({ threads: 1, worker: false });
  afterAll(() => runtime.close());

  async function run(graph: Graph, x: Float64Array, shape: readonly number[]): Promise<Map<string, number[]>> {
    const session = await runtime.compile(graph);
    const results = await session.run(new Map([["x", fromFloats("f32", shape, x)]]));
    await session.release();
    return new Map([...results].map(([name, tensor]) => [name, [...toFloat64(tensor)]]));
  }

  /** Training form of a graph, its outputs, the statistics after the step, and the gradients of a weighted sum. */
  async function trained(shape: readonly number[], x: Float64Array, plant = asItIs) {
    const types = new Map([["x", { dtype: "f32" as const, shape }]]);
    const g = algebra(await sized(graphOf(shape, false), runtime, types));
    const next = trainingMode(g);
    const y = g.of(g.draft.finish().outputs[0]?.name ?? "");
    const weights = g.constant(fromFloats("f32", shape, drawn(shape, 77)));
    const loss = g.sum(g.mul(plant(g, g.square(y)), weights));
    const gradients = gradient(g, loss, ["x", "s", "b"]);
    composeAll(g);
    const outputs = [y, loss, ...next.values(), ...gradients.values()].map(({ name }) => ({ name, dtype: null }));
    const results = await run(removeDeadCode({ ...g.finish().graph, outputs, valueInfo: new Map() }), x, shape);
    const read = (value: Value | undefined): number[] => results.get(value?.name ?? "") ?? [];
    return {
      y: read(y),
      loss: read(loss)[0] ?? Number.NaN,
      mean: read(next.get("m")),
      variance: read(next.get("v")),
      gradients: ["x", "s", "b"].map((name) => read(gradients.get(name))),
    };
  }

  const shapes = [
    [4, 3, 5, 2],
    [6, 2],
    [3, 2, 4],
    [2, 3, 2, 2, 3],
  ];

  it.each(shapes)("%j %j: the output is standardised, and running statistics move", async (...shape) => {
    const x = drawn(shape, 3, 0.7);
    const found = await trained(shape, x);
    const { mean, variance, count } = statistics(x, shape);
    const [s = [], b = [], m = [], v = []] = await Promise.all(
      ["s", "b", "m", "v"].map(async (name) => {
        const ref = graphOf(shape, false).constants.get(name);
        return ref?.resident === undefined ? [] : [...new Float32Array(ref.resident.slice().buffer)];
      }),
    );
    const inner = sizeOf(shape.slice(2));
    for (const [i, value] of found.y.entries()) {
      const c = Math.floor(i / inner) % mean.length;
      const expected =
        (((x[i] ?? 0) - (mean[c] ?? 0)) / Math.sqrt((variance[c] ?? 0) + epsilon)) * (s[c] ?? 0) + (b[c] ?? 0);
      expect(value).toBeCloseTo(expected, 4);
    }
    for (const [c, value] of found.mean.entries())
      expect(value).toBeCloseTo(0.8 * (m[c] ?? 0) + 0.2 * (mean[c] ?? 0), 5);
    for (const [c, value] of found.variance.entries()) {
      expect(value).toBeCloseTo(0.8 * (v[c] ?? 0) + (0.2 * (variance[c] ?? 0) * count) / (count - 1), 5);
    }
  });

  /** Relative difference between a directional derivative and what the gradient says of it. */
  async function differenceOf(shape: readonly number[], plant = asItIs): Promise<number> {
    const x = drawn(shape, 3, 0.7);
    const { gradients } = await trained(shape, x, plant);
    const direction = drawn(shape, 5);
    const along = direction.reduce((sum, d, i) => sum + d * (gradients[0]?.[i] ?? Number.NaN), 0);
    const moved = (step: number) => x.map((value, i) => value + step * (direction[i] ?? 0));
    const at = async (step: number) => (await trained(shape, moved(step))).loss;
    const numeric = ((await at(0.01)) - (await at(-0.01))) / 0.02;
    return Math.abs(numeric - along) / Math.abs(numeric);
  }

  it.each(shapes)("%j %j: gradients equal differences of the loss", async (...shape) => {
    expect(await differenceOf(shape)).toBeLessThan(1e-2);
  });

  it("sees a gradient that is a twentieth too large", async () => {
    expect(await differenceOf([4, 3, 5, 2], (g, value) => g.mul(value, 1.05))).toBeGreaterThan(3e-2);
  });

  it("a node that is training in the file keeps its outputs", async () => {
    const shape = [4, 3, 5, 2];
    const x = drawn(shape, 3, 0.7);
    const graph = graphOf(shape, true);
    const lowered = algebra(await sized(graph, runtime, new Map([["x", { dtype: "f32" as const, shape }]])));
    composeAll(lowered);
    const [before, after] = [await run(graph, x, shape), await run(lowered.finish().graph, x, shape)];
    for (const [name, values] of before) {
      for (const [i, value] of values.entries()) expect(after.get(name)?.[i], name).toBeCloseTo(value, 4);
    }
  });
});
