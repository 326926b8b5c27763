import { afterAll, describe, expect, it } from "vitest";
import { asRef } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { verify } from "../graph/passes/verify.ts";
import { analyse } from "../models/analysis.ts";
import { evaluate } from "../runtime/evaluate.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { cut } from "./cut.ts";
import { checkLaw } from "./law.ts";
import { masked } from "./masked.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

function noise(label: string, shape: readonly number[]) {
  const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
  random(6, label).fillNormal(values);
  return float32Tensor(shape, values);
}

/**
 * x [t, n, 6], both open: h = x·W of 4 heads of 3, attended to itself in the form [n·4, t, 3] whose first size is computed
 * as n times 4, y = attended·V.
 */
function attention(): Graph {
  const g = builder("attention", 17);
  const ints = (kind: readonly number[]) => ({ kind: "ints" as const, value: kind });
  const x = g.input("x", "f32", ["t", "n", 6]);
  const h = g.op("MatMul", [x, g.constant(noise("w", [6, 12]), "w")]);
  const shape = g.op("Shape", [x]);
  const at = (i: number) => g.op("Gather", [shape, g.int64([i])]);
  const many = g.op("Mul", [at(1), g.int64([4])]);
  const heads = g.op("Reshape", [h, g.op("Concat", [at(0), many, g.int64([3])], { axis: { kind: "int", value: 0 } })]);
  const q = g.op("Transpose", [heads], { perm: ints([1, 0, 2]) });
  const k = g.op("Transpose", [heads], { perm: ints([1, 2, 0]) });
  const attended = g.op("MatMul", [g.op("Softmax", [g.op("MatMul", [q, k])]), q]);
  const back = g.op("Transpose", [attended], { perm: ints([1, 0, 2]) });
  const flat = g.op("Concat", [at(0), at(1), g.int64([12])], { axis: { kind: "int", value: 0 } });
  const joined = g.op("Reshape", [back, flat]);
  g.output(g.op("MatMul", [joined, g.constant(noise("v", [12, 4]), "v")], {}, "y"), "f32", ["t", "n", 4]);
  return verify(g.finish());
}

async function answer(graph: Graph, t: number, n: number): Promise<Float32Array> {
  const x = noise("x", [t, n, 6]);
  const y = (await evaluate(runtime, graph, ["y"], new Map([["x", x]]))).get("y");
  return y === undefined ? new Float32Array(0) : toFloat32(y);
}

describe("sizes that follow the input and lose heads", () => {
  it("batch times heads is computed from the heads that are left, at any input size", async () => {
    const graph = attention();
    const { coupling, facts } = await analyse(graph, runtime);
    const heads = coupling.groups.find(({ size, sets, blocked }) => size * sets === 4 && blocked.length === 0);
    if (heads === undefined) throw new Error("no group of heads");
    const masks = new Map([[heads, Uint8Array.of(1, 0, 1, 1)]]);
    const small = verify(await cut(graph, coupling, facts, masks));
    expect(small.constants.get("w")?.shape).toEqual([6, 9]);
    const reference = masked(graph, coupling, facts, masks);
    const feeds = new Map([["x", noise("x", facts.types.get("x")?.shape ?? [])]]);
    expect((await checkLaw(runtime, reference, small, [feeds])).relative).toBeLessThan(1e-5);
    // The original with the same columns of W at zero gives the same, at sizes that nobody analysed.
    const w = toFloat32(noise("w", [6, 12])).map((value, i) => (Math.floor((i % 12) / 3) === 1 ? 0 : value));
    const constants = new Map(graph.constants);
    constants.set("w", asRef(float32Tensor([6, 12], w)));
    for (const [t, n] of [
      [5, 1],
      [2, 7],
    ] as const) {
      const [a, b] = [await answer(small, t, n), await answer({ ...graph, constants }, t, n)];
      expect(a.length).toBe(t * n * 4);
      expect(Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? 0))))).toBeLessThan(1e-4);
    }
  });
});
