import { afterAll, beforeAll, expect, it } from "vitest";
import { withLabels } from "../data/from-tensors.ts";
import type { Graph } from "../graph/graph.ts";
import { withGraph } from "../models/model.ts";
import { prune } from "../pipeline/prune.ts";
import { layered } from "../plans/layered.ts";
import type { Plan } from "../plans/plan.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { load, refOf } from "../tensor/tensor.ts";
import { classify } from "../testbeds/bench/classify.ts";
import { tinyInputs, tinyNet } from "../testbeds/tiny-net.ts";
import { sparsegpt } from "./sparsegpt.ts";
import { wanda } from "./wanda.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const channel = 3;
const factor = 64;

async function changed(graph: Graph, name: string, change: (value: number, index: number) => number): Promise<Graph> {
  const ref = graph.constants.get(name);
  if (ref === undefined) throw new Error(name);
  const tensor = float32Tensor(ref.shape, toFloat32(await load(ref)).map(change));
  return { ...graph, constants: new Map([...graph.constants, [name, refOf(tensor)]]) };
}

/** The tiny network with one inner feature 64 times larger and its readers 64 times smaller: the same function, exactly. */
async function rescaled(): Promise<Graph> {
  let { graph } = tinyNet().onnx;
  for (const name of ["inner.scale", "inner.bias"]) {
    graph = await changed(graph, name, (value, i) => (i === channel ? value * factor : value));
  }
  const reads = (i: number): boolean => Math.floor(i / 9) % 8 === channel;
  return changed(graph, "outer.weight", (value, i) => (reads(i) ? value / factor : value));
}

async function zerosOf(graph: Graph, plan: Plan): Promise<readonly boolean[]> {
  const model = withGraph(tinyNet(), graph);
  const found = await prune(model, plan, { runtime, calibration: tinyInputs(48), measure: false });
  const ref = found.model.onnx.graph.constants.get("outer.weight");
  if (ref === undefined) throw new Error("outer.weight");
  return Array.from(toFloat32(await load(ref)), (value) => value === 0);
}

it("the rescaled network is the same function", async () => {
  const data = withLabels(tinyInputs(32), new Int32Array(32), "labels");
  const [a, b] = [await rescaled(), tinyNet().onnx.graph];
  expect((await classify(runtime, a, data)).nll).toBeCloseTo((await classify(runtime, b, data)).nll, 4);
});

it.each([
  ["row by row", wanda.plan()],
  ["in a layer", wanda.plan({ scope: "tensor" })],
  ["2:4", wanda.plan({ pattern: "2:4" })],
  ["as a mask of the sweep", sparsegpt.plan({ mask: "wanda" })],
])("Wanda %s does not see the scale of a feature", async (_, plan) => {
  const zeros = await zerosOf(tinyNet().onnx.graph, plan);
  expect(zeros.filter(Boolean).length).toBe(zeros.length / 2);
  expect(await zerosOf(await rescaled(), plan)).toEqual(zeros);
});

it("magnitude does", async () => {
  const plan = layered(0.5, "uniform");
  expect(await zerosOf(await rescaled(), plan)).not.toEqual(await zerosOf(tinyNet().onnx.graph, plan));
});
