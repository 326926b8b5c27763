import { afterAll, beforeAll, expect, it } from "vitest";
import { randomInputs } from "../data/random-inputs.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import { builder } from "../graph/builder.ts";
import { type Model, modelFrom } from "../models/model.ts";
import { prune } from "../pipeline/prune.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { type Shape, sizeOf } from "../tensor/tensor.ts";
import { flap } from "./flap.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const calibration = randomInputs([{ name: "x", dtype: "f32", dims: ["n", 6] }], { count: 40, seed: 1 });

/**
 * x [n, 6] through 8 neurons to y [n, 4]. Neuron 5 gives the same whatever x is, since no x reaches it or since it is
 * saturated, and has the largest weights behind it.
 */
function network(kind: "unreached" | "saturated"): Model {
  const g = builder("mlp", 17);
  const draw = random(0, "flap");
  const normal = (name: string, shape: Shape, change: (values: Float32Array) => void = () => {}): string => {
    const values = new Float32Array(sizeOf(shape));
    draw.split(name).fillNormal(values, 0, 0.5);
    change(values);
    return g.constant(float32Tensor(shape, values), name);
  };
  const first = normal("first", [6, 8], (w) => {
    for (let i = 0; i < 6 && kind === "unreached"; i++) w[8 * i + 5] = 0;
  });
  const bias = normal("bias", [8], (b) => {
    b[5] = kind === "unreached" ? 0.7 : 50;
  });
  const second = normal("second", [8, 4], (w) => w.subarray(20, 24).fill(3));
  const x = g.input("x", "f32", ["n", 6]);
  const inner = g.op("Sigmoid", [g.op("Gemm", [x, first, bias])]);
  g.output(g.op("MatMul", [inner, second], {}, "y"), "f32", ["n", 4]);
  return modelFrom("mlp", modelOf(g.finish()));
}

async function answers({ onnx }: Model): Promise<Float32Array> {
  const session = await runtime.compile(onnx.graph);
  const { inputs } = await calibration.gather(Int32Array.from({ length: 40 }, (_, i) => i));
  const [y] = [...(await session.run(inputs)).values()];
  await session.release();
  return toFloat32(y ?? expect.fail("no output"));
}

const furthest = (a: Float32Array, b: Float32Array): number =>
  Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? 0))));

it.each(["unreached", "saturated"] as const)(
  "a neuron that is %s goes first, and biases make up for all of it",
  async (kind) => {
    const model = network(kind);
    const before = await answers(model);
    const one = { sparsity: 1 / 8, of: "units" } as const;
    const options = { runtime, calibration, measure: false } as const;
    const { model: repaired, masks } = await prune(model, flap.plan(one), options);
    expect([...masks.values()].map((mask) => [...mask])).toEqual([[1, 1, 1, 1, 1, 0, 1, 1]]);
    expect(furthest(await answers(repaired), before)).toBeLessThan(1e-5);
    const bare = await prune(model, flap.plan({ ...one, bias: "none" }), options);
    // What follows from the weights alone is always made up for; what only data tells is not.
    const cost = furthest(await answers(bare.model), before);
    if (kind === "unreached") expect(cost).toBeLessThan(1e-5);
    else expect(cost).toBeCloseTo(3, 4);
  },
);

const pictures = randomInputs([{ name: "x", dtype: "f32", dims: ["n", 2, 3, 3] }], { count: 30, seed: 2 });

/** x [n, 2, 3, 3] through 6 channels, read at 9 places each, and beside them through 12 neurons to y [n, 3]. */
function twoWidths() {
  const g = builder("two-widths", 17);
  const draw = random(1, "two widths");
  const normal = (name: string, shape: Shape): Float32Array => {
    const values = new Float32Array(sizeOf(shape));
    draw.split(name).fillNormal(values);
    // As in language models, channels are much alike, and most neurons lie just below the mean, since a few are large.
    if (name === "conv") values.set(values.map((v, i) => v / Math.hypot(v, values[i ^ 1] ?? 0)));
    if (name === "down") for (const big of [0, 3]) values.subarray(3 * big, 3 * big + 3).fill(12);
    g.constant(float32Tensor(shape, values), name);
    return values;
  };
  const weights = {
    conv: normal("conv", [6, 2, 1, 1]),
    behind: normal("behind", [54, 3]),
    up: normal("up", [18, 12]),
    down: normal("down", [12, 3]),
  };
  const x = g.input("x", "f32", ["n", 2, 3, 3]);
  const wide = g.op("Flatten", [g.op("Tanh", [g.op("Conv", [x, "conv"])])]);
  const inner = g.op("Tanh", [g.op("MatMul", [g.op("Flatten", [x]), "up"])]);
  g.output(g.op("Add", [g.op("MatMul", [wide, "behind"]), g.op("MatMul", [inner, "down"])], {}, "y"), "f32", ["n", 3]);
  return { model: modelFrom("two-widths", modelOf(g.finish())), weights };
}

it("ranks units of many channels among neurons by the mean of their channels' standardised scores", async () => {
  const { model, weights } = twoWidths();
  const { inputs } = await pictures.gather(Int32Array.from({ length: 30 }, (_, i) => i));
  const x = toFloat32(inputs.get("x") ?? expect.fail());
  // The metric and the ranking once more, by plain loops: channel c of place p lies at 9 c + p.
  const at = (n: number, i: number): number => x[18 * n + i] ?? 0;
  const wide = (n: number, j: number): number => {
    const [c, p] = [Math.floor(j / 9), j % 9];
    return Math.tanh(at(n, p) * (weights.conv[2 * c] ?? 0) + at(n, 9 + p) * (weights.conv[2 * c + 1] ?? 0));
  };
  const inner = (n: number, j: number): number => {
    let sum = 0;
    for (let i = 0; i < 18; i++) sum += at(n, i) * (weights.up[12 * i + j] ?? 0);
    return Math.tanh(sum);
  };
  const metric = (count: number, value: (n: number, j: number) => number, w: Float32Array): number[] =>
    Array.from({ length: count }, (_, j) => {
      const values = Array.from({ length: 30 }, (_, n) => value(n, j));
      const mean = values.reduce((a, b) => a + b) / 30;
      const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / 30;
      return variance * ((w[3 * j] ?? 0) ** 2 + (w[3 * j + 1] ?? 0) ** 2 + (w[3 * j + 2] ?? 0) ** 2);
    });
  const ofChannels = (places: readonly number[]): number[] =>
    Array.from({ length: 6 }, (_, c) => places.slice(9 * c, 9 * c + 9).reduce((a, b) => a + b) / 9);
  const places = metric(54, wide, weights.behind);
  const neurons = standardised(metric(12, inner, weights.down));
  const lowest = (channels: readonly number[]): readonly number[] =>
    [...channels, ...neurons]
      .map((score, unit) => ({ score, unit }))
      .sort((a, b) => a.score - b.score)
      .slice(0, 9)
      .map(({ unit }) => unit)
      .sort((a, b) => a - b);
  const gone = lowest(ofChannels(standardised(places)));
  const options = { runtime, calibration: pictures, measure: false } as const;
  const { masks } = await prune(model, flap.plan({ sparsity: 0.5, of: "units" }), options);
  const bySize = new Map([...masks.values()].map((mask) => [mask.length, [...mask]]));
  const kept = [...(bySize.get(6) ?? Array(6).fill(1)), ...(bySize.get(12) ?? Array(12).fill(1))];
  expect(kept.flatMap((keep, unit) => (keep > 0 ? [] : [unit]))).toEqual(gone);
  // Standardised among themselves, channels spread as far as neurons do, and others go.
  expect(lowest(standardised(ofChannels(places)))).not.toEqual(gone);
});

function standardised(scores: readonly number[]): number[] {
  const mean = scores.reduce((a, b) => a + b) / scores.length;
  const sd = Math.sqrt(scores.reduce((a, b) => a + (b - mean) ** 2, 0) / scores.length);
  return scores.map((score) => (score - mean) / sd);
}
