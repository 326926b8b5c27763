import { afterAll, describe, expect, it } from "vitest";
import { ints } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { EspalierError } from "../tensor/error.ts";
import { float32Tensor, toFloat32, toInts } from "../tensor/numeric.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { evaluate } from "./evaluate.ts";
import { openRuntime } from "./open-runtime.node.ts";

const cpu = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => cpu.close());

/** y = relu(x·w + b), w [3, 2] large enough for nothing: inline. */
function affine(): Graph {
  const g = builder("affine", 17);
  g.input("x", "f32", ["n", 3]);
  const product = g.op("MatMul", ["x", g.float32([1, 2, 3, 4, 5, 6], [3, 2], "w")], {}, "product");
  const sum = g.op("Add", [product, g.float32([-30, 1], [2], "b")], {}, "sum");
  g.output(g.op("Relu", [sum], {}, "y"), "f32", ["n", 2]);
  return g.finish();
}

/** The chain that exporters leave behind: z = reshape(x, concat(shape(x)[0], -1)). */
function chain(): Graph {
  const g = builder("chain", 17);
  g.input("x", "f32", ["n", 3, "h", "w"]);
  const shape = g.op("Shape", ["x"], {}, "shape");
  const n = g.op("Gather", [shape, g.int64([0], [], "zero")], {}, "n0");
  const list = g.op("Unsqueeze", [n, g.int64([0], [1], "axes")], {}, "list");
  const target = g.op("Concat", [list, g.int64([-1])], { axis: { kind: "int", value: 0 } }, "target");
  const flat = g.op("Reshape", ["x", target], {}, "flat");
  g.output(g.op("Transpose", [flat], { perm: ints([1, 0]) }, "z"), "f32", ["k", "n"]);
  return g.finish();
}

const f32 = (values: number[], shape: number[]): HostTensor => float32Tensor(shape, Float32Array.from(values));
const numbers = (tensor: HostTensor | undefined) => (tensor === undefined ? [] : [...toFloat32(tensor)]);

async function failureOf(work: Promise<unknown>): Promise<EspalierError> {
  const cause = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (cause instanceof EspalierError) return cause;
  throw new Error(`expected an EspalierError, got ${String(cause)}`);
}

describe("sessions", () => {
  it("run and give the outputs", async () => {
    const session = await cpu.compile(affine());
    const out = await session.run(new Map([["x", f32([1, 1, 1, 2, 2, 2], [2, 3])]]));
    expect([...out.keys()]).toEqual(["y"]);
    expect(out.get("y")?.shape).toEqual([2, 2]);
    expect(numbers(out.get("y"))).toEqual([0, 13, 0, 25]);
    await session.release();
  });

  it("say what is missing, unknown or of the wrong size", async () => {
    const session = await cpu.compile(affine());
    const x = f32([1, 1, 1], [1, 3]);
    const messages: string[] = [];
    for (const feeds of [new Map(), new Map([["z", x]]), new Map([["x", f32([1, 1], [1, 2])]])]) {
      messages.push((await failureOf(session.run(feeds))).message);
    }
    messages.push((await failureOf(session.run(new Map([["x", x]]), ["yy"]))).message);
    await session.release();
    messages.push((await failureOf(session.run(new Map([["x", x]])))).message);
    expect(messages).toMatchInlineSnapshot(`
      [
        "x: expected a tensor for every input, got none.",
        "z: expected one of the inputs x, got "z". Did you mean "x"?",
        "x: expected f32 [n, 3], got f32 [1, 2].",
        "yy: expected one of the outputs y, got "yy". Did you mean "y"?",
        "session: expected an open session, got a released one.",
      ]
    `);
  });
});

describe("types", () => {
  it("are numeric through the shape chains of exporters", async () => {
    const types = await cpu.types(chain(), new Map([["x", { dtype: "f32", shape: [2, 3, 5, 7] }]]));
    const shapes = Object.fromEntries([...types].map(([name, type]) => [name, `${type.dtype} ${type.shape}`]));
    expect(shapes).toMatchObject({ shape: "i64 4", n0: "i64 ", target: "i64 2", flat: "f32 2,105", z: "f32 105,2" });
  });
});

describe("evaluate", () => {
  it("runs only what the asked values need", async () => {
    const x = f32([1, 2, 3], [1, 3, 1, 1]);
    const values = await evaluate(cpu, chain(), ["target", "axes"], new Map([["x", x]]));
    expect([...values].map(([name, value]) => [name, toInts(value)])).toEqual([
      ["axes", [0]],
      ["target", [1, -1]],
    ]);
  });
});
