import { afterAll, beforeAll, expect, it } from "vitest";
import { masksOf } from "../../../test/laws.ts";
import { random as randomScores } from "../../criteria/weights/random.ts";
import { int, ints } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { type Analysis, analyse } from "../../models/analysis.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { cut } from "../../surgery/cut.ts";
import { float32Tensor, fromFloats, toFloat64 } from "../../tensor/numeric.ts";
import { load, sizeOf } from "../../tensor/tensor.ts";
import { type InitialisationScheme, initialise } from "./initialise.ts";

let runtime: Runtime;
let analysis: Analysis;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  analysis = await analyse(everything(), runtime);
});
afterAll(() => runtime.close());

/** Every kind of parameter once, all of them full of sevens. */
function everything(): Graph {
  const g = builder("everything");
  const sevens = (name: string, ...shape: number[]): string =>
    g.constant(float32Tensor(shape, new Float32Array(sizeOf(shape)).fill(7)), name);
  const image = g.input("image", "f32", ["n", 8, 6, 6]);
  const kernel = { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) };
  const grouped = g.op("Conv", [image, sevens("conv", 64, 4, 3, 3), sevens("conv.bias", 64)], {
    ...kernel,
    group: int(2),
  });
  const vectors = ["scale", "shift", "mean", "variance"].map((name) => sevens(`bn.${name}`, 64));
  const normed = g.op("BatchNormalization", [grouped, ...vectors]);
  const rows = g.op("Reshape", [normed, g.int64([0, 64, 36])]);
  // [n, 36, 64]
  const sequence = g.op("Transpose", [rows], { perm: ints([0, 2, 1]) });
  const projected = g.op("MatMul", [sequence, sevens("project", 64, 256)]);
  const offset = g.op("Add", [sevens("project.bias", 256), projected]);
  const placed = g.op("Add", [offset, sevens("positions", 1, 36, 256)]);
  const turned = g.op("Transpose", [placed], { perm: ints([1, 0, 2]) });
  const recurrent = [sevens("rnn.w", 1, 4 * 100, 256), sevens("rnn.r", 1, 4 * 100, 100), sevens("rnn.b", 1, 800)];
  g.op("LSTM", [turned, ...recurrent], { hidden_size: int(100) }, ["", "last"]);
  const state = g.op("Squeeze", ["last", g.int64([0])]);
  const word = g.input("word", "i64", ["n"]);
  const meaning = g.op("Gather", [sevens("words", 50, 100), word]);
  const both = g.op("LayerNormalization", [
    g.op("Add", [state, meaning]),
    sevens("ln.scale", 100),
    sevens("ln.shift", 100),
  ]);
  const half = { transB: int(1) };
  g.output(g.op("Gemm", [both, sevens("head", 20, 100), sevens("head.bias", 20)], half), "f32", ["n", 20]);
  return g.finish();
}

interface Moments {
  readonly mean: number;
  readonly sd: number;
  readonly largest: number;
}

async function momentsOf(graph: Graph, name: string): Promise<Moments> {
  const values = toFloat64(await load(graph.constants.get(name) ?? expect.fail(name)));
  const mean = values.reduce((sum, n) => sum + n, 0) / values.length;
  const sd = Math.sqrt(values.reduce((sum, n) => sum + (n - mean) ** 2, 0) / values.length);
  return { mean, sd, largest: values.reduce((most, n) => Math.max(most, Math.abs(n)), 0) };
}

const made = (scheme: InitialisationScheme, seed = 1): Graph =>
  initialise(analysis.graph, analysis.matrices, { seed, scheme }).graph;

/** Deviations that each scheme promises, from the fans written down by hand. */
const fans = {
  conv: [36, 32 * 9],
  project: [64, 256],
  "rnn.w": [256, 400],
  "rnn.r": [100, 400],
  head: [100, 20],
} as const;

it.each([
  ["kaiming-normal", (into: number) => Math.sqrt(2 / into)],
  ["kaiming-uniform", (into: number) => Math.sqrt(2 / into)],
  ["xavier-normal", (into: number, out: number) => Math.sqrt(2 / (into + out))],
  ["xavier-uniform", (into: number, out: number) => Math.sqrt(2 / (into + out))],
] as const)("%s draws every matrix by its fans", async (scheme, sd) => {
  const graph = made(scheme);
  for (const [name, [into, out]] of Object.entries(fans)) {
    const found = await momentsOf(graph, name);
    const expected = sd(into, out);
    expect(Math.abs(found.sd / expected - 1)).toBeLessThan(0.06);
    expect(Math.abs(found.mean)).toBeLessThan(0.1 * expected);
    if (scheme.endsWith("uniform")) expect(found.largest).toBeLessThanOrEqual(expected * Math.sqrt(3) * (1 + 1e-6));
    else expect(found.largest).toBeGreaterThan(2.5 * expected);
  }
});

it("draws as PyTorch's modules do: uniform by the fan, a recurrent layer by its state, biases too", async () => {
  const graph = made("pytorch");
  const bounds = { conv: 36, "conv.bias": 36, project: 64, "project.bias": 64, head: 100, "head.bias": 100 };
  const recurrent = { "rnn.w": 100, "rnn.r": 100, "rnn.b": 100 };
  for (const [name, fan] of Object.entries({ ...bounds, ...recurrent })) {
    const { largest } = await momentsOf(graph, name);
    expect(largest * Math.sqrt(fan)).toBeLessThanOrEqual(1 + 1e-6);
    expect(largest * Math.sqrt(fan)).toBeGreaterThan(0.8);
  }
  expect(Math.abs((await momentsOf(graph, "words")).sd - 1)).toBeLessThan(0.03);
});

it("sets scales to 1, shifts and biases to 0, running statistics to those of normalised data", async () => {
  const graph = made("kaiming-normal");
  const values = { "bn.scale": 1, "bn.shift": 0, "bn.mean": 0, "bn.variance": 1, "ln.scale": 1, "ln.shift": 0 };
  const biases = { "conv.bias": 0, "project.bias": 0, "rnn.b": 0, "head.bias": 0 };
  for (const [name, value] of Object.entries({ ...values, ...biases })) {
    expect(await momentsOf(graph, name)).toEqual({ mean: value, sd: 0, largest: value });
  }
  expect(Math.abs((await momentsOf(graph, "words")).sd / 0.02 - 1)).toBeLessThan(0.03);
});

it("says what it left alone, unless told how to draw it", async () => {
  const { graph, kept } = initialise(analysis.graph, analysis.matrices, { seed: 0 });
  expect(kept).toEqual(["positions"]);
  expect(await momentsOf(graph, "positions")).toMatchObject({ mean: 7, sd: 0 });
  const normal = new Map([["positions", 0.5]]);
  const all = initialise(analysis.graph, analysis.matrices, { seed: 0, normal });
  expect(all.kept).toEqual([]);
  expect(Math.abs((await momentsOf(all.graph, "positions")).sd / 0.5 - 1)).toBeLessThan(0.03);
  const wrong = { seed: 0, normal: new Map([["position", 1]]) };
  expect(() => initialise(analysis.graph, analysis.matrices, wrong)).toThrow("expected a parameter of the graph");
});

it("gives the same bytes for a seed, and each parameter a stream of its own", async () => {
  const bytes = async (graph: Graph, name: string): Promise<string> =>
    Buffer.from((await load(graph.constants.get(name) ?? expect.fail(name))).bytes).toString("hex");
  const [one, again, other] = [made("kaiming-normal"), made("kaiming-normal"), made("kaiming-normal", 2)];
  for (const name of Object.keys(fans)) {
    expect((await bytes(again, name)) === (await bytes(one, name))).toBe(true);
    expect((await bytes(other, name)) === (await bytes(one, name))).toBe(false);
  }
  expect((await bytes(one, "rnn.r")).slice(0, 64)).not.toBe((await bytes(one, "rnn.w")).slice(0, 64));
});

it("draws a cut graph by the fans that are left", async () => {
  const masks = await masksOf(analysis, randomScores(0), 0.5);
  const small = await cut(analysis.graph, analysis.coupling, analysis.facts, masks);
  const again = await analyse(small, runtime);
  const { graph } = initialise(small, again.matrices, { seed: 1 });
  const into = again.matrices.find(({ parameter }) => parameter === "project")?.columns ?? 0;
  expect(into).toBe(32);
  expect(Math.abs((await momentsOf(graph, "project")).sd / Math.sqrt(2 / into) - 1)).toBeLessThan(0.06);
});

it("keeps the type of half-precision parameters", async () => {
  const g = builder("half");
  const x = g.input("x", "f16", ["n", 32]);
  const weight = g.constant(fromFloats("f16", [32, 40], new Float32Array(32 * 40)), "weight");
  g.output(g.op("MatMul", [x, weight]), "f16", ["n", 40]);
  const half = await analyse(g.finish(), runtime);
  const { graph } = initialise(half.graph, half.matrices, { seed: 0 });
  expect(graph.constants.get("weight")?.dtype).toBe("f16");
  expect(Math.abs((await momentsOf(graph, "weight")).sd / 0.25 - 1)).toBeLessThan(0.06);
});
