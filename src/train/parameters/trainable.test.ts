import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { int, ints } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { analyse } from "../../models/analysis.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { fromFloats } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { heads, trainable } from "./trainable.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

/** Every kind of constant once: what is trained, and what looks like it. */
function everything(dtype: "f32" | "f16" = "f32"): Graph {
  const g = builder("everything");
  const noise = (name: string, ...shape: number[]): string => {
    const values = new Float32Array(sizeOf(shape));
    random(1, name).fillUniform(values, 0.1, 1);
    return g.constant(fromFloats(dtype, shape, values), name);
  };
  const image = g.input("image", dtype, [2, 3, 8, 8]);
  // Preparation of the input, before the first matrix.
  const centred = g.op("Sub", [image, noise("mean", 1, 3, 1, 1)]);
  const scaled = g.op("Div", [centred, noise("deviation", 1, 3, 1, 1)]);
  const patches = g.op("Conv", [scaled, noise("patch.weight", 8, 3, 4, 4), noise("patch.bias", 8)], {
    kernel_shape: ints([4, 4]),
    strides: ints([4, 4]),
  });
  const statistics = ["bn.scale", "bn.shift", "bn.mean", "bn.variance"].map((name) => noise(name, 8));
  const normed = g.op("BatchNormalization", [patches, ...statistics]);
  const rows = g.op("Transpose", [g.op("Reshape", [normed, g.int64([0, 8, 4])])], { perm: ints([0, 2, 1]) });
  const first = g.op("Concat", [g.op("Expand", [noise("token", 1, 1, 8), g.int64([2, 1, 8])]), rows], {
    axis: int(1),
  });
  const placed = g.op("Add", [first, noise("positions", 1, 5, 8)]);
  const turned = g.op("Mul", [placed, noise("rotation", 5, 8)]);
  const projected = g.op("Add", [
    g.op("MatMul", [turned, g.op("Transpose", [noise("project", 8, 8)], { perm: ints([1, 0]) })]),
    noise("project.bias", 8),
  ]);
  const scored = g.op("MatMul", [projected, g.op("Transpose", [projected], { perm: ints([0, 2, 1]) })]);
  const mask = Float32Array.from({ length: 25 }, (_, i) => (i % 5 > i / 5 ? -100 : 0));
  const masked = g.op("Add", [
    g.op("Mul", [scored, noise("root")]),
    g.constant(fromFloats(dtype, [1, 5, 5], mask), "mask"),
  ]);
  const mixed = g.op("MatMul", [g.op("Softmax", [masked], { axis: int(-1) }), projected]);
  const gated = g.op("Add", [placed, g.op("Mul", [mixed, noise("gain", 8)])]);
  const word = g.input("word", "i64", [2]);
  const meaning = g.op("Unsqueeze", [g.op("Gather", [noise("words", 50, 8), word]), g.int64([1])]);
  const both = g.op("LayerNormalization", [g.op("Add", [gated, meaning]), noise("ln.scale", 8), noise("ln.shift", 8)]);
  const mean = g.op("ReduceMean", [both, g.int64([1])], { keepdims: int(0) });
  const answer = g.op("Add", [g.op("MatMul", [mean, noise("head", 8, 1)]), noise("head.bias", 1)]);
  g.output(answer, dtype, [2, 1]);
  return g.finish();
}

describe("what is trained", () => {
  it.each(["f32", "f16"] as const)("is told from what only looks like it: %s", async (dtype) => {
    const graph = everything(dtype);
    const { matrices } = await analyse(graph, runtime);
    const found = await trainable(graph, matrices);
    expect(Object.fromEntries(found.map(({ name, kind }) => [name, kind]))).toEqual({
      "patch.weight": "matrix",
      "patch.bias": "bias",
      "bn.scale": "scale",
      "bn.shift": "shift",
      token: "offset",
      positions: "offset",
      project: "matrix",
      "project.bias": "bias",
      gain: "scale",
      words: "table",
      "ln.scale": "scale",
      "ln.shift": "shift",
      head: "matrix",
      "head.bias": "bias",
    });
  });

  it("ends with the head", async () => {
    const graph = everything();
    const { matrices } = await analyse(graph, runtime);
    const parameters = await trainable(graph, matrices);
    const head = heads(graph, matrices);
    expect(parameters.filter(({ name }) => head.has(name)).map(({ name }) => name)).toEqual(["head", "head.bias"]);
  });
});
