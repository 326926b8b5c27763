import { afterAll, describe, expect, it } from "vitest";
import type { Feeds, Graph } from "../../src/graph/graph.ts";
import { operators } from "../../src/ops/table.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { fromFloats, toFloat64 } from "../../src/tensor/numeric.ts";
import { sized } from "../../src/train/sized.ts";
import { type GradientCase, graphOf } from "./check.ts";
import { loweredCases } from "./lowered.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

async function outputs(graph: Graph, feeds: Feeds): Promise<readonly Float64Array[]> {
  const session = await runtime.compile(graph, { optimisation: "disabled" });
  const results = await session.run(feeds);
  await session.release();
  return [...results.values()].map(toFloat64);
}

/** Greatest difference between the operator's own outputs and those of what it was lowered to. */
async function apart(one: GradientCase, other: GradientCase = one): Promise<number> {
  const { graph, points } = graphOf(one, 3);
  const types = new Map([...points].map(([name, { type }]) => [name, type]));
  const feeds = new Map([...points].map(([name, { type, values }]) => [name, fromFloats("f32", type.shape, values)]));
  const lowered = await sized(graphOf(other, 3).graph, runtime, types);
  expect(lowered.graph.nodes.some(({ op, domain }) => [op, `${domain}::${op}`].includes(one.op))).toBe(false);
  const [before, after] = [await outputs(graph, feeds), await outputs(lowered.graph, feeds)];
  let most = 0;
  for (const [i, values] of before.entries()) {
    expect(after[i]?.length).toBe(values.length);
    for (const [j, value] of values.entries()) most = Math.max(most, Math.abs(value - (after[i]?.[j] ?? Number.NaN)));
  }
  return most;
}

describe("what an operator is lowered to gives its outputs", () => {
  it.each(loweredCases.map((one) => [one.form === undefined ? one.op : `${one.op}, ${one.form}`, one] as const))(
    "%s",
    async (_, one) => {
      expect(await apart(one)).toBeLessThan(2e-6);
    },
  );

  it("sees the lowering of another form", async () => {
    const [one] = loweredCases.filter(({ op, form }) => op === "GRU" && form !== undefined);
    if (one === undefined) throw new Error("no such case");
    const { linear_before_reset: _, ...others } = one.attributes ?? {};
    expect(await apart(one, { ...one, attributes: others })).toBeGreaterThan(1e-3);
  });

  it("has a case of every operator that is lowered", () => {
    const tried = new Set(loweredCases.map(({ op }) => op));
    const lowered = operators().filter(({ spec }) => typeof spec.grad === "object" && spec.grad !== null);
    const missing = lowered
      .map(({ domain, op }) => (domain === "" ? op : `${domain}::${op}`))
      .filter((n) => !tried.has(n));
    expect(missing).toEqual([]);
  });
});
