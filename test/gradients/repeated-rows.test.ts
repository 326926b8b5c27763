import { afterAll, expect, it } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { algebra } from "../../src/graph/algebra/algebra.ts";
import { builder } from "../../src/graph/builder.ts";
import { removeDeadCode } from "../../src/graph/passes/dead-code.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { fromFloats, fromInts, toFloat64 } from "../../src/tensor/numeric.ts";

const runtime = await openRuntime({ threads: 4, worker: false });
afterAll(() => runtime.close());

it("adds every one of many lookups of few rows, whatever the number of threads", async () => {
  const [rows, width, lookups] = [5, 512, 4000];
  const g = algebra({ graph: builder("table").finish(), types: new Map(), values: new Map() });
  const table = g.input("table", "f32", [rows, width]);
  const loss = g.sum(g.gather(table, g.input("tokens", "i64", [lookups]), 0));
  const [found] = gradient(g, loss, [table.name]).values();
  if (found === undefined) throw new Error("no gradient");
  g.draft.output(found.name, "f32");
  const session = await runtime.compile(removeDeadCode(g.finish().graph));
  const tokens = Array.from({ length: lookups }, (_, i) => i % (rows - 1));
  const feeds = new Map([
    ["table", fromFloats("f32", [rows, width], new Float64Array(rows * width))],
    ["tokens", fromInts("i64", [lookups], tokens)],
  ]);
  const expected = Array.from({ length: rows * width }, (_, i) => (i < (rows - 1) * width ? lookups / (rows - 1) : 0));
  for (let run = 0; run < 5; run++) {
    const [result] = (await session.run(feeds)).values();
    expect(result === undefined ? [] : [...toFloat64(result)]).toEqual(expected);
  }
  await session.release();
});
