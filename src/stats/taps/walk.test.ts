import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../../data/from-tensors.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph, TensorType } from "../../graph/graph.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { walk } from "./walk.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

/** a = x · first, b = a + x, c = b · a: `a` crosses two places, `x` too. */
function graph(first: number): Graph {
  const g = builder("walk", 17);
  g.input("x", "f32", ["n", 2]);
  const a = g.op("Mul", ["x", g.float32([first], [], "factor")], {}, "a");
  const b = g.op("Add", [a, "x"], {}, "b");
  g.output(g.op("Mul", [b, a], {}, "c"), "f32", ["n", 2]);
  return g.finish();
}

const types = new Map<string, TensorType>(["x", "a", "b", "c"].map((name) => [name, { dtype: "f32", shape: [2, 2] }]));
const data = fromTensors({ x: float32Tensor([3, 2], Float32Array.of(1, 2, 3, 4, 5, 6)) });

/** Reads `b` stopping before node 1, then `c` of another graph stopping before node 2. */
async function twoSteps(holdBytes: number | undefined, later: Graph): Promise<{ b: number[]; c: number[] }> {
  const road = await walk(runtime, data, 2, types, holdBytes);
  const found = { b: [] as number[], c: [] as number[] };
  await road.step(graph(2), ["b"], 1, (values) => {
    const b = values.get("b");
    if (b !== undefined) found.b.push(...toFloat32(b));
  });
  await road.step(later, ["c"], 2, (values) => {
    const c = values.get("c");
    if (c !== undefined) found.c.push(...toFloat32(c));
  });
  return found;
}

describe("a walk", () => {
  it.each([undefined, 0])("gives what a run from the inputs gives, holding at most %s bytes", async (holdBytes) => {
    const { b, c } = await twoSteps(holdBytes, graph(2));
    expect(b).toEqual([3, 6, 9, 12, 15, 18]);
    expect(c).toEqual([6, 24, 54, 96, 150, 216]);
  });

  it("sees what becomes of a weight behind the place, though it is transposed before it", async () => {
    const turned = (weight: number): Graph => {
      const g = builder("turned", 17);
      g.input("x", "f32", ["n", 2]);
      const w = g.op("Transpose", [g.constant(float32Tensor([1, 2], Float32Array.of(1, weight)), "w")], {}, "turned");
      const a = g.op("MatMul", ["x", w], {}, "a");
      g.output(g.op("Neg", [a], {}, "c"), "f32", ["n", 1]);
      return g.finish();
    };
    const road = await walk(runtime, data, 3, types);
    const found: number[][] = [];
    const take = (values: ReadonlyMap<string, HostTensor>) => {
      const value = values.get("c") ?? values.get("a");
      if (value !== undefined) found.push([...toFloat32(value)]);
    };
    await road.step(turned(0), ["a"], 1, take);
    await road.step(turned(10), ["c"], 2, take);
    expect(found).toEqual([
      [1, 3, 5],
      [-21, -43, -65],
    ]);
  });

  it("does not run again what lies before the place where it stands", async () => {
    // The changed factor lies behind: held values do not see it, a fresh start does.
    expect((await twoSteps(undefined, graph(-1))).c).toEqual([6, 24, 54, 96, 150, 216]);
    expect((await twoSteps(0, graph(-1))).c.every((n) => n === 0)).toBe(true);
  });
});
