import { trainingMode } from "../src/autodiff/training-mode.ts";
import { builder } from "../src/graph/builder.ts";
import type { Feeds, Graph, TensorType } from "../src/graph/graph.ts";
import { losses, optimisers, type ParameterGroup, type StepDefinition } from "../src/index.node.ts";
import { float32Tensor, fromInts } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";
import { refOf } from "../src/tensor/tensor.ts";
import { llama } from "../src/testbeds/models/llama.ts";
import { resnet } from "../src/testbeds/models/resnet.ts";

interface TrainBench extends Pick<StepDefinition, "loss" | "prepare"> {
  readonly graph: Graph;
  readonly types: ReadonlyMap<string, TensorType>;
  readonly feeds: Feeds;
  readonly groups: readonly ParameterGroup[];
  readonly rate: number;
}

function normal(shape: readonly number[], label: string, sd = 1) {
  const values = new Float32Array(shape.reduce((n, size) => n * size, 1));
  random(0, label).fillNormal(values, 0, sd);
  return float32Tensor(shape, values);
}

const labels = (count: number, classes: number) =>
  fromInts(
    "i32",
    [count],
    random(0, "labels")
      .permutation(count)
      .map((i) => i % classes),
  );

const floatsOf = (graph: Graph): string[] =>
  [...graph.constants]
    .filter(([name, { dtype }]) => dtype === "f32" && !["cos", "sin", "mask"].includes(name) && name.includes("."))
    .map(([name]) => name);

function mlp(): TrainBench {
  const g = builder("mlp");
  let x = g.input("x", "f32", ["n", 784]);
  const widths = [784, 300, 100, 10];
  for (let i = 0; i < 3; i++) {
    const [n = 1, m = 1] = widths.slice(i, i + 2);
    const w = g.constant(normal([m, n], `w${i}`, 1 / Math.sqrt(n)), `${i}.weight`);
    const b = g.constant(normal([m], `b${i}`, 0.01), `${i}.bias`);
    x = g.op("Gemm", [x, w, b], { transB: { kind: "int", value: 1 } });
    if (i < 2) x = g.op("Relu", [x]);
  }
  g.output(x, "f32", ["n", 10]);
  const graph = g.finish();
  return {
    graph,
    types: new Map([["x", { dtype: "f32", shape: [128, 784] }]]),
    feeds: new Map([
      ["x", normal([128, 784], "x")],
      ["labels", labels(128, 10)],
    ]),
    loss: (c) => losses.crossEntropy(c.g, c.outputs[0] ?? c.of("x"), c.input("labels", "i32", [128])),
    groups: [{ parameters: floatsOf(graph), optimiser: optimisers.sgd() }],
    rate: 0.05,
  };
}

function decoder(): TrainBench {
  const graph = llama({ vocabulary: 1024, width: 256, layers: 4, heads: 8, kvHeads: 8, inner: 512, time: 512 });
  const tokens = fromInts(
    "i32",
    [8, 512],
    random(0, "tokens")
      .permutation(4096)
      .map((i) => i % 1024),
  );
  return {
    graph,
    types: new Map([["tokens", { dtype: "i32", shape: [8, 512] }]]),
    feeds: new Map([
      ["tokens", tokens],
      ["targets", tokens],
    ]),
    loss: (c) => losses.crossEntropy(c.g, c.outputs[0] ?? c.of("tokens"), c.input("targets", "i32", [8, 512])),
    groups: [{ parameters: floatsOf(graph), optimiser: optimisers.adamW() }],
    rate: 1e-3,
  };
}

function resnet20(): TrainBench {
  const empty = resnet({ picture: [3, 32, 32], widths: [16, 32, 64], blocks: 3, shortcut: "pad", classes: 10 });
  const constants = new Map(empty.constants);
  for (const [name, { shape }] of empty.constants) {
    if (shape.length > 1) constants.set(name, refOf(normal(shape, name, 0.1)));
  }
  const drawn = { ...empty, constants };
  return {
    graph: drawn,
    types: new Map([["image", { dtype: "f32", shape: [128, 3, 32, 32] }]]),
    feeds: new Map([
      ["image", normal([128, 3, 32, 32], "x")],
      ["labels", labels(128, 10)],
    ]),
    loss: (c) => losses.crossEntropy(c.g, c.outputs[0] ?? c.of("image"), c.input("labels", "i32", [128])),
    groups: [{ parameters: floatsOf(drawn).filter((name) => !/running/.test(name)), optimiser: optimisers.sgd() }],
    prepare: trainingMode,
    rate: 0.05,
  };
}

/** What is measured, by name; the same models as in train_step.py. */
export const trainBenches: Readonly<Record<string, () => TrainBench>> = { mlp, llama: decoder, resnet20 };
