import { afterAll, describe, expect, it } from "vitest";
import { sized } from "../../src/autodiff/sized.ts";
import type { Feeds, Graph } from "../../src/graph/graph.ts";
import { operators } from "../../src/ops/table.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { fromFloats, toFloat64 } from "../../src/tensor/numeric.ts";
import { differenceCases, titleOf } from "./cases.ts";
import { type GradientCase, graphOf } from "./check.ts";
import { loweredCases } from "./lowered.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

/** Operators of which nothing is left once they are lowered. */
const lowered: ReadonlySet<string> = new Set(
  operators().flatMap(({ domain, op, spec: { grad } }) => {
    const vanishes = typeof grad === "object" && grad !== null && "lower" in grad && !("rule" in grad);
    return vanishes ? [domain === "" ? op : `${domain}::${op}`] : [];
  }),
);
const cases = [...loweredCases, ...differenceCases.filter(({ op }) => lowered.has(op))];

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
  const { graph: written } = await sized(graphOf(other, 3).graph, runtime, types);
  expect(written.nodes.some(({ op, domain }) => [op, `${domain}::${op}`].includes(one.op))).toBe(false);
  const [before, after] = [await outputs(graph, feeds), await outputs(written, feeds)];
  let most = 0;
  for (const [i, values] of before.entries()) {
    expect(after[i]?.length).toBe(values.length);
    for (const [j, value] of values.entries()) most = Math.max(most, Math.abs(value - (after[i]?.[j] ?? Number.NaN)));
  }
  return most;
}

describe("what an operator is lowered to gives its outputs", () => {
  it.each(cases.map((one) => [titleOf(one), one] as const))("%s", async (_, one) => {
    expect(await apart(one)).toBeLessThan(2e-6);
  });

  it("sees the lowering of another form", async () => {
    const [one] = loweredCases.filter(({ op, form }) => op === "GRU" && form !== undefined);
    if (one === undefined) throw new Error("no such case");
    const { linear_before_reset: _, ...others } = one.attributes ?? {};
    expect(await apart(one, { ...one, attributes: others })).toBeGreaterThan(1e-3);
  });

  it("has a case of every operator that is lowered", () => {
    const tried = new Set(cases.map(({ op }) => op));
    const missing = [...lowered].filter((name) => !tried.has(name));
    expect(missing).toEqual([]);
  });
});
