import { afterAll, beforeAll, expect, it } from "vitest";
import { asRef } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Tensor, fromInts } from "../tensor/numeric.ts";
import { type KnownRuns, ledger } from "./ledger.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

/** x [n, 4] · w [4, 5], and beside it a · aᵀ of an input of fixed size, as taps of inner values have. */
function products(): Graph {
  const g = builder("products", 17);
  const x = g.input("x", "f32", ["n", 4]);
  const a = g.input("a", "f32", ["m", 3]);
  g.output(g.op("MatMul", [x, g.constant(float32Tensor([4, 5], new Float32Array(20)), "w")], {}, "y"), "f32");
  g.output(g.op("MatMul", [a, g.op("Transpose", [a])], {}, "gram"), "f32");
  return g.finish();
}

/** a · aᵀ, and x [n, 4] as [rows, -1] times its transpose. */
function reshaped(rows: number): Graph {
  const g = builder("reshaped", 17);
  const x = g.input("x", "f32", ["n", 4]);
  const a = g.input("a", "f32", ["m", 3]);
  const shape = g.constant(fromInts("i64", [2], [rows, -1]), "shape");
  const y = g.op("Reshape", [x, shape]);
  g.output(g.op("MatMul", [y, g.op("Transpose", [y])], {}, "y"), "f32");
  g.output(g.op("MatMul", [a, g.op("Transpose", [a])], {}, "gram"), "f32");
  return g.finish();
}

const feeds = (n: number, m: number) =>
  new Map([
    ["x", float32Tensor([n, 4], new Float32Array(4 * n))],
    ["a", float32Tensor([m, 3], new Float32Array(3 * m))],
  ]);

it("counts every run at the shapes that were fed", async () => {
  const book = ledger();
  const session = await book.watch(runtime).compile(products());
  await session.run(feeds(7, 6));
  await session.run(feeds(2, 5));
  await session.run(feeds(2, 5));
  await session.release();
  const { forwardMacs, backwardMacs, samples, bytes, seconds } = book.totals();
  expect(forwardMacs).toBe(7 * 20 + 6 * 6 * 3 + 2 * (2 * 20 + 5 * 5 * 3));
  expect(backwardMacs).toBe(0);
  expect(samples).toBe(11);
  expect(bytes).toBe(4 * (7 * 4 + 6 * 3 + 7 * 5 + 36 + 2 * (2 * 4 + 5 * 3 + 2 * 5 + 25)));
  expect(seconds).toBeGreaterThan(0);
});

it("ledgers that share what runs took analyse a graph once, however its numbers change", async () => {
  let analysed = 0;
  const counted: Runtime = {
    ...runtime,
    types: (...asked) => {
      analysed++;
      return runtime.types(...asked);
    },
  };
  const known: KnownRuns = new Map();
  const macsOf = async (graph: Graph, n: number) => {
    const book = ledger(known);
    const session = await book.watch(counted).compile(graph);
    await session.run(feeds(n, 5));
    await session.release();
    return book.totals().forwardMacs;
  };
  const other = products();
  const weights = asRef(float32Tensor([4, 5], new Float32Array(20).fill(1)));
  expect(await macsOf(products(), 2)).toBe(115);
  expect(await macsOf({ ...other, constants: new Map(other.constants).set("w", weights) }, 2)).toBe(115);
  expect(analysed).toBe(1);
  expect(await macsOf(products(), 3)).toBe(135);
  expect(analysed).toBe(2);
  // The same nodes, but other sizes.
  expect([await macsOf(reshaped(2), 2), await macsOf(reshaped(4), 2)]).toEqual([2 * 4 * 2 + 75, 4 * 2 * 4 + 75]);
});

it("keeps backward apart, and two runtimes in one book", async () => {
  const book = ledger();
  for (const direction of ["forward", "backward", "backward"] as const) {
    const session = await book.watch(runtime, direction).compile(products());
    await session.run(feeds(2, 5));
    await session.release();
  }
  expect(book.totals()).toMatchObject({ forwardMacs: 115, backwardMacs: 230, samples: 6 });
});

it("leaves latency measurements out, and measures watched sessions", async () => {
  const book = ledger();
  const watched = book.watch(runtime);
  const session = await watched.compile(products());
  const [latency] = await watched.measure([{ session, feeds: feeds(2, 5) }], { runs: 3, maxSeconds: 1 });
  expect(latency?.runs).toBeGreaterThan(0);
  expect(book.totals().forwardMacs).toBe(0);
  await session.release();
});

it("a book that counted a batch as one sample would be found", async () => {
  const session = await runtime.compile(products());
  const book = ledger();
  const same = await book.watch({ ...runtime, compile: () => Promise.resolve(session) }).compile(products());
  await same.run(feeds(7, 6));
  await same.release();
  expect(book.totals().samples).not.toBe(1);
  expect(book.totals().forwardMacs).not.toBe(20 + 6 * 6 * 3);
});
