import type { IndexedDataset } from "../data/dataset.ts";
import { randomInputs } from "../data/random-inputs.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import type { Attributes } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { type Model, modelFrom } from "../models/model.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { type Shape, sizeOf } from "../tensor/tensor.ts";

/** A residual network of about 3,000 random weights for tests: image [n, 3, 8, 8] to logits [n, 5]. Nothing in it is trained. */
export function tinyNet(seed = 0): Model {
  return modelFrom(`tiny-${seed}.onnx`, {
    graph: tinyGraph(seed),
    irVersion: 8,
    producerName: "espalier",
    producerVersion: "",
    domain: "",
    modelVersion: 0n,
    doc: "",
    metadata: new Map(),
    unknown: [],
  });
}

/** Inputs for it. */
export function tinyInputs(count: number, seed = 0): IndexedDataset {
  return randomInputs([{ name: "image", dtype: "f32", dims: ["n", 3, 8, 8] }], { count, seed });
}

function tinyGraph(seed: number): Graph {
  const g = builder("tiny", 17);
  const draw = random(seed, "tiny net");
  const normal = (name: string, shape: Shape, mean: number, sd: number): string => {
    const values = new Float32Array(sizeOf(shape));
    draw.split(name).fillNormal(values, mean, sd);
    return g.constant(float32Tensor(shape, values), name);
  };
  const positive = (name: string, size: number): string => {
    const values = new Float32Array(size);
    draw.split(name).fillUniform(values, 0.5, 1.5);
    return g.constant(float32Tensor([size], values), name);
  };
  const conv = (name: string, x: string, inputs: number, outputs: number, stride: number): string => {
    const weight = normal(`${name}.weight`, [outputs, inputs, 3, 3], 0, Math.sqrt(2 / (9 * inputs)));
    const attributes: Attributes = {
      kernel_shape: { kind: "ints", value: [3, 3] },
      pads: { kind: "ints", value: [1, 1, 1, 1] },
      strides: { kind: "ints", value: [stride, stride] },
    };
    const y = g.op("Conv", [x, weight], attributes);
    const statistics = [normal(`${name}.mean`, [outputs], 0, 0.1), positive(`${name}.variance`, outputs)];
    const affine = [positive(`${name}.scale`, outputs), normal(`${name}.bias`, [outputs], 0, 0.2)];
    return g.op("BatchNormalization", [y, ...affine, ...statistics]);
  };
  const image = g.input("image", "f32", ["n", 3, 8, 8]);
  const stem = g.op("Relu", [conv("stem", image, 3, 8, 1)]);
  const inner = g.op("Relu", [conv("inner", stem, 8, 8, 1)]);
  const sum = g.op("Relu", [g.op("Add", [conv("outer", inner, 8, 8, 1), stem])]);
  const last = g.op("Relu", [conv("last", sum, 8, 12, 2)]);
  // Every position counts, so that answers differ between inputs.
  const flat = g.op("Flatten", [last]);
  const head = normal("head.weight", [12 * 16, 5], 0, 0.1);
  g.output(g.op("Gemm", [flat, head, normal("head.bias", [5], 0, 0.1)], {}, "logits"), "f32", ["n", 5]);
  return g.finish();
}

/** A chain of residual blocks of random weights for tests: x [n, 8] to y [n, 8], two branches of an MLP in each of three blocks. */
export function tinyChain(seed = 0): Model {
  const g = builder("chain", 17);
  const draw = random(seed, "tiny chain");
  const normal = (name: string, shape: Shape, sd: number): string => {
    const values = new Float32Array(sizeOf(shape));
    draw.split(name).fillNormal(values, 0, sd);
    return g.constant(float32Tensor(shape, values), name);
  };
  let x = g.input("x", "f32", ["n", 8]);
  for (let i = 0; i < 6; i++) {
    // Branches differ in how much they add, so that no two scores are alike.
    const inner = g.op("Relu", [g.op("MatMul", [x, normal(`${i}.in`, [8, 12], 0.3)])]);
    x = g.op(
      "Add",
      [x, g.op("MatMul", [inner, normal(`${i}.out`, [12, 8], 0.1 + 0.05 * ((i * 5) % 6))])],
      {},
      `sum.${i}`,
    );
  }
  g.output(g.op("MatMul", [x, normal("head", [8, 8], 0.5)], {}, "y"), "f32", ["n", 8]);
  return modelFrom("chain.onnx", modelOf(g.finish()));
}

/** Inputs for it. */
export function chainInputs(count: number, seed = 0): IndexedDataset {
  return randomInputs([{ name: "x", dtype: "f32", dims: ["n", 8] }], { count, seed });
}
