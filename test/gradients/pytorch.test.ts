import { afterAll, describe, expect, it } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { sized } from "../../src/autodiff/sized.ts";
import { algebra } from "../../src/graph/algebra/algebra.ts";
import { removeDeadCode } from "../../src/graph/passes/dead-code.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { fromFloats, toFloat64 } from "../../src/tensor/numeric.ts";
import { titleOf } from "./cases.ts";
import { graphOf } from "./check.ts";
import { type PyTorchCase, pytorchCases } from "./pytorch.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

/** Distance of each gradient, in float32, from PyTorch's in float64, relative to its norm. */
async function distances({ one, weights, gradients }: PyTorchCase): Promise<readonly number[]> {
  const { graph, points } = graphOf(one, 0);
  const types = new Map([...points].map(([name, { type }]) => [name, type]));
  const g = algebra(await sized(graph, runtime, types));
  const [y] = graph.outputs.map(({ name }) => g.of(name));
  if (y === undefined) throw new Error("no output");
  const loss = g.sum(g.mul(y, g.constant(fromFloats("f32", y.shape, Float64Array.from(weights)))));
  const written = [...gradient(g, loss, points.keys()).values()];
  const outputs = written.map(({ name }) => ({ name, dtype: null }));
  const session = await runtime.compile(removeDeadCode({ ...g.finish().graph, outputs, valueInfo: new Map() }));
  const feeds = [...points].map(([name, { type, values }]) => [name, fromFloats("f32", type.shape, values)] as const);
  const found = await session.run(new Map(feeds));
  await session.release();
  return written.map(({ name }, i) => {
    const value = found.get(name);
    const mine = value === undefined ? [] : toFloat64(value);
    const truth = gradients[i] ?? [];
    expect(mine.length).toBe(truth.length);
    const norm = Math.hypot(...truth);
    return Math.hypot(...truth.map((n, j) => n - (mine[j] ?? Number.NaN))) / Math.max(norm, 1e-6);
  });
}

describe("gradients in float32 equal PyTorch's in float64", () => {
  it.each(pytorchCases.map((one) => [titleOf(one.one), one] as const))("%s", async (_, one) => {
    for (const distance of await distances(one)) expect(distance).toBeLessThan(1e-5);
  });

  it("sees a gradient of other weights", async () => {
    const [one] = pytorchCases;
    if (one === undefined) throw new Error("no cases");
    const weights = one.weights.map((n, i) => (i === 0 ? n * 1.1 : n));
    expect(Math.max(...(await distances({ ...one, weights })))).toBeGreaterThan(1e-3);
  });
});
