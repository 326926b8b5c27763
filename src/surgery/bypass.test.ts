import { afterAll, describe, expect, it } from "vitest";
import { builder } from "../graph/builder.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import { verify } from "../graph/passes/verify.ts";
import { evaluate } from "../runtime/evaluate.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { dropBranches, maskBranches } from "./bypass.ts";
import { checkLaw } from "./law.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

const types = new Map<string, TensorType>(
  ["x", "branch", "sum"].map((name) => [name, { dtype: "f32", shape: [2, 2, 3] }]),
);

/** sum = x + 2·relu(x); `reader` reads the branch too. */
function graph(reader = false): Graph {
  const g = builder("branch", 17);
  g.input("x", "f32", ["n", 2, 3]);
  const branch = g.op("Mul", [g.op("Relu", ["x"], {}, "inner"), g.float32([2], [], "two")], {}, "branch");
  g.output(g.op("Add", [branch, "x"], {}, "sum"), "f32", ["n", 2, 3]);
  if (reader) g.output(g.op("Neg", [branch], {}, "other"), "f32", ["n", 2, 3]);
  return g.finish();
}

const branch = { sum: "sum", bypass: "x", mean: Float64Array.of(0.5, -1), axis: 1 };

describe("dropping a branch", () => {
  it("leaves its bypass plus the mean, and nothing that only the branch needed", async () => {
    const small = verify(dropBranches(graph(), [branch], types));
    expect(small.nodes.map(({ op }) => op)).toEqual(["Add"]);
    expect([...small.constants.keys()]).toEqual(["sum_mean"]);
    const x = Float32Array.of(1, 2, 3, -4, 5, 6);
    const values = await evaluate(runtime, small, ["sum"], new Map([["x", float32Tensor([1, 2, 3], x)]]));
    const sum = values.get("sum");
    expect(sum === undefined ? [] : [...toFloat32(sum)]).toEqual([1.5, 2.5, 3.5, -5, 4, 5]);
  });

  it("keeps what others read of the branch", () => {
    const small = verify(dropBranches(graph(true), [branch], types));
    expect(small.nodes.map(({ op }) => op).sort()).toEqual(["Add", "Mul", "Neg", "Relu"]);
  });

  it("refuses what is no sum of that bypass", () => {
    expect(() => dropBranches(graph(), [{ ...branch, bypass: "inner" }], types)).toThrow(
      /sum of a branch and its bypass/,
    );
    expect(() => dropBranches(graph(), [{ ...branch, sum: "branch" }], types)).toThrow(/sum/);
  });

  it("agrees with the graph in which branches are masked, and disagrees where another mean was put in", async () => {
    const feeds = [new Map([["x", float32Tensor([1, 2, 3], Float32Array.of(1, 2, 3, -4, 5, 6))]])];
    const reference = verify(maskBranches(graph(), [branch], types));
    expect(reference.nodes.map(({ op }) => op)).toEqual(["Relu", "Mul", "Mul", "Add", "Add"]);
    const small = dropBranches(graph(), [branch], types);
    expect((await checkLaw(runtime, reference, small, feeds)).relative).toBe(0);
    const other = dropBranches(graph(), [{ ...branch, mean: Float64Array.of(0.5, -1.01) }], types);
    expect((await checkLaw(runtime, reference, other, feeds)).passed).toBe(false);
    expect((await checkLaw(runtime, graph(), small, feeds)).passed).toBe(false);
  });

  it("gives back the same graph when there is nothing to drop", () => {
    const whole = graph();
    expect(dropBranches(whole, [], types)).toBe(whole);
  });
});
