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
