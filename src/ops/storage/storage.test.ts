import { afterAll, describe, expect, it } from "vitest";
import { int } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { verify } from "../../graph/passes/verify.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { onnxNumberOf } from "../../tensor/dtype.ts";
import { float32Tensor, fromFloats, fromInts, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { bytesOf, load } from "../../tensor/tensor.ts";
import { castAfterLookup } from "./cast-after-lookup.ts";
import { columnCodes } from "./column-codes.ts";
import { inEightBits } from "./in-eight-bits.ts";
import { inFloat32 } from "./in-float32.ts";
import { inHalf } from "./in-half.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

const noise = random(7, "weights");
const drawn = (n: number): Float32Array => Float32Array.from({ length: n }, () => noise.normal());

/** A table that is the head too, and matrices that lie either way; `dtype` is that of the weights. */
function network(dtype: "f32" | "bf16", change: (values: Float32Array) => Float32Array = (x) => x): Graph {
  const g = builder("network", 23);
  g.input("ids", "i64", ["batch", "time"]);
  const weight = (name: string, ...shape: number[]): string => {
    const values = change(drawn(shape.reduce((a, b) => a * b)));
    const constant = g.constant(fromFloats(dtype, shape, values), name);
    return dtype === "f32" ? constant : g.op("Cast", [constant], { to: int(onnxNumberOf("f32")) });
  };
  const table = weight("table", 40, 24);
  const rows = g.op("Gather", [table, "ids"], { axis: int(0) });
  const up = g.op("MatMul", [rows, g.op("Transpose", [weight("up", 56, 24)])]);
  const down = g.op("MatMul", [g.op("Tanh", [up]), weight("down", 56, 24)]);
  const x = g.op("Add", [rows, down]);
  g.output(g.op("MatMul", [x, g.op("Transpose", [table])], {}, "logits"), "f32", ["batch", "time", 40]);
  return g.finish();
}

const ids = new Map([["ids", fromInts("i64", [2, 3], [1, 39, 7, 0, 22, 22])]]);

async function answers(graph: Graph): Promise<Float32Array> {
  const session = await runtime.compile(verify(graph));
  try {
    const found = (await session.run(ids)).get("logits");
    return found === undefined ? new Float32Array(0) : toFloat32(found);
  } finally {
    await session.release();
  }
}

async function apart(a: Graph, b: Graph): Promise<number> {
  const [x, y] = [await answers(a), await answers(b)];
  expect(x.length).toBe(240);
  const squares = (of: (i: number) => number): number => x.reduce((sum, _, i) => sum + of(i) ** 2, 0);
  return Math.sqrt(squares((i) => (x[i] ?? 0) - (y[i] ?? 0)) / squares((i) => x[i] ?? 0));
}

const size = ({ constants }: Graph): number => [...constants.values()].reduce((sum, ref) => sum + bytesOf(ref), 0);

describe("weights of a graph", () => {
  it("that are cast are stored as float32 under their names, and nothing changes", async () => {
    const graph = network("bf16");
    const wide = inFloat32(graph);
    expect(wide.constants.get("table")?.dtype).toBe("f32");
    expect(wide.nodes.some(({ op }) => op === "Cast")).toBe(false);
    expect(await apart(graph, wide)).toBe(0);
  });

  it("that are looked up are cast behind the lookup, and nothing changes", async () => {
    const graph = network("bf16");
    const later = castAfterLookup(graph);
    const lookup = later.nodes.find(({ op }) => op === "Gather");
    expect(lookup?.inputs[0]).toBe("table");
    expect(await apart(graph, later)).toBe(0);
    // What is an output keeps its name.
    const g = builder("rows", 23);
    g.input("ids", "i64", ["batch", "time"]);
    const table = g.constant(fromFloats("bf16", [40, 24], drawn(960)), "table");
    const cast = g.op("Cast", [table], { to: int(onnxNumberOf("f32")) });
    g.output(g.op("Gather", [cast, "ids"], {}, "rows"), "f32", ["batch", "time", 24]);
    const alone = castAfterLookup(g.finish());
    expect(alone.outputs.map(({ name }) => name)).toEqual(["rows"]);
    expect(alone.nodes.map(({ op }) => op)).toEqual(["Gather", "Cast"]);
  });

  it("take half the room as half floats", async () => {
    const graph = network("f32");
    const half = inHalf(graph);
    expect(size(half)).toBe(size(graph) / 2);
    const error = await apart(graph, half);
    expect(error).toBeGreaterThan(1e-6);
    expect(error).toBeLessThan(1e-3);
  });

  it("beyond half floats are refused by name", async () => {
    const half = inHalf(network("f32", (values) => values.fill(1e5, 3, 4)));
    await expect(answers(half)).rejects.toThrow("table: expected weights within ±65504 for half floats, got 100000");
  });

  it("take about a quarter of the room in 8 bits, a shared table once", async () => {
    const graph = network("f32");
    const small = inEightBits(graph);
    expect(size(small) / size(graph)).toBeLessThan(0.3);
    expect([...small.constants.values()].filter(({ dtype, shape }) => dtype === "u8" && shape.length > 0)).toHaveLength(
      3,
    );
    expect(small.nodes.filter(({ op }) => op === "MatMul")).toEqual([]);
    const error = await apart(graph, small);
    expect(error).toBeGreaterThan(1e-4);
    expect(error).toBeLessThan(0.03);
  });

  it("stay as they are where something else reads them", async () => {
    const g = builder("other", 23);
    g.input("ids", "i64", ["batch", "time"]);
    const table = g.constant(float32Tensor([40, 24], drawn(960)), "table");
    const rows = g.op("Gather", [table, "ids"], { axis: int(0) });
    g.output(g.op("MatMul", [rows, g.op("Transpose", [g.op("Tanh", [table])])], {}, "logits"), "f32");
    const graph = g.finish();
    expect(inEightBits(graph).constants.get("table")?.dtype).toBe("f32");
  });

  it("planted fault: scales of other columns are seen", async () => {
    const graph = network("f32");
    const small = inEightBits(graph);
    const constants = new Map(small.constants);
    const name = [...constants.keys()].find((key) => key.startsWith("down.scales")) ?? expect.fail();
    const scales = toFloat32(await load(constants.get(name) ?? expect.fail()));
    constants.set(name, { dtype: "f32", shape: [24], resident: new Uint8Array(scales.slice().reverse().buffer) });
    expect(await apart(graph, { ...small, constants })).toBeGreaterThan(0.03);
  });
});

describe("codes of columns", () => {
  it("are within half a scale of what they stand for, either way that it lies", () => {
    const values = drawn(12);
    const { codes, scales } = columnCodes(values, 3, 4, false);
    for (let i = 0; i < 12; i++) {
      const scale = scales[i % 4] ?? 0;
      expect(Math.abs(((codes[i] ?? 0) - 128) * scale - (values[i] ?? 0))).toBeLessThanOrEqual(scale * 0.501);
    }
    const turned = Float32Array.from({ length: 12 }, (_, i) => values[(i % 3) * 4 + Math.floor(i / 3)] ?? 0);
    expect(columnCodes(turned, 3, 4, true)).toEqual({ codes, scales });
  });

  it("of a column of zeros are zero", () => {
    expect(columnCodes(new Float32Array(4), 2, 2, false)).toEqual({
      codes: Uint8Array.of(128, 128, 128, 128),
      scales: new Float32Array(2),
    });
  });
});
