import { afterAll, describe, expect, it } from "vitest";
import { ints } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { EspalierError } from "../tensor/error.ts";
import { float32Tensor, fromInts, toFloat32, toInts } from "../tensor/numeric.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { evaluate } from "./evaluate.ts";
import { openRuntime } from "./open-runtime.node.ts";
import { openEngine } from "./ort/open-engine.node.ts";

const cpu = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => cpu.close());

/** y = relu(x·w + b), w [3, 2]. */
function affine(): Graph {
  const g = builder("affine", 17);
  g.input("x", "f32", ["n", 3]);
  const product = g.op("MatMul", ["x", g.float32([1, 2, 3, 4, 5, 6], [3, 2], "w")], {}, "product");
  const sum = g.op("Add", [product, g.float32([-30, 1], [2], "b")], {}, "sum");
  g.output(g.op("Relu", [sum], {}, "y"), "f32", ["n", 2]);
  return g.finish();
}

/** The chain that exporters leave behind: z = transpose(reshape(x, concat(shape(x)[0], -1))). */
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
    await session.release();
    expect([...out.keys()]).toEqual(["y"]);
    expect(out.get("y")?.shape).toEqual([2, 2]);
    expect(numbers(out.get("y"))).toEqual([0, 13, 0, 25]);
  });

  it("write results over memory that is given, even that of an input, and refuse what does not fit", async () => {
    const g = builder("sum", 17);
    const [x, y] = [g.input("x", "f32", [2]), g.input("y", "f32", [2])];
    g.output(g.op("Add", [x, y], {}, "sum"), "f32", [2]);
    g.output(g.op("Sub", [x, y], {}, "difference"), "f32", [2]);
    const graph = g.finish();
    const shared = new Uint8Array(new SharedArrayBuffer(8));
    const web = await openRuntime({ device: "wasm", threads: 1 });
    for (const runtime of [cpu, web]) {
      const session = await runtime.compile(graph);
      const [one, two] = [f32([1, 2], [2]), f32([10, 20], [2])];
      for (const place of [one, { ...one, bytes: shared }]) {
        const out = await session.run(
          new Map([
            ["x", f32([1, 2], [2])],
            ["y", two],
          ]),
          undefined,
          undefined,
          new Map([["sum", place]]),
        );
        expect(out.get("sum")?.bytes).toBe(place.bytes);
        expect(numbers({ ...place, bytes: place.bytes.slice() })).toEqual([11, 22]);
        expect(numbers(out.get("difference"))).toEqual([-9, -18]);
      }
      const again = new Map([
        ["x", one],
        ["y", two],
      ]);
      await session.run(again, ["sum"], undefined, new Map([["sum", one]]));
      expect(numbers(one)).toEqual([21, 42]);
      const wrong = session.run(again, ["sum"], undefined, new Map([["sum", f32([1, 2, 3], [3])]]));
      await expect(wrong).rejects.toThrow(EspalierError);
      await session.release();
    }
    await web.close();
  });

  it("take bytes that are misaligned or shared", async () => {
    const session = await cpu.compile(affine());
    const { bytes } = f32([1, 1, 1], [1, 3]);
    const odd = new Uint8Array(13);
    odd.set(bytes, 1);
    const shared = new Uint8Array(new SharedArrayBuffer(12));
    shared.set(bytes);
    for (const held of [odd.subarray(1), shared]) {
      const out = await session.run(new Map([["x", { dtype: "f32", shape: [1, 3], bytes: held }]]));
      expect(numbers(out.get("y"))).toEqual([0, 13]);
    }
    await session.release();
  });

  it("carry half floats, integers, booleans and strings through unchanged", async () => {
    const g = builder("carry", 17);
    const feeds = new Map<string, HostTensor>([
      ["half", { dtype: "f16", shape: [2], bytes: Uint8Array.from([0, 60, 0, 192]) }],
      ["long", fromInts("i64", [2], [-5, 2 ** 40])],
      ["flag", fromInts("bool", [3], [1, 0, 1])],
      ["byte", { dtype: "u8", shape: [], bytes: Uint8Array.from([200]) }],
      ["text", { dtype: "string", shape: [2], bytes: Uint8Array.from([2, 0, 0, 0, 195, 164, 0, 0, 0, 0]) }],
    ]);
    for (const [name, { dtype, shape }] of feeds) {
      g.input(name, dtype, shape);
      g.output(g.op("Identity", [name], {}, `${name}-out`), dtype, shape);
    }
    const session = await cpu.compile(g.finish());
    const out = await session.run(feeds);
    await session.release();
    for (const [name, fed] of feeds) expect(out.get(`${name}-out`)).toEqual(fed);
  });

  it("say what is missing, unknown, of the wrong size or released", async () => {
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

  it("are shared between those who compile the same graph, until the last one releases", async () => {
    const graph = affine();
    const feeds = new Map([["x", f32([1, 1, 1], [1, 3])]]);
    const first = await cpu.compile(graph);
    const second = await cpu.compile(graph);
    await first.release();
    await first.release();
    expect(numbers((await second.run(feeds)).get("y"))).toEqual([0, 13]);
    await second.release();
    const third = await cpu.compile(graph);
    expect(numbers((await third.run(feeds)).get("y"))).toEqual([0, 13]);
    await third.release();
  });

  it("name the node at which the runtime fails", async () => {
    const g = builder("faulty", 17);
    g.input("x", "f32", ["n"]);
    g.add({
      name: "fold it",
      domain: "",
      op: "Reshape",
      inputs: ["x", g.int64([2, 2])],
      outputs: ["y"],
      attributes: new Map(),
    });
    g.output("y", "f32", [2, 2]);
    const session = await cpu.compile(g.finish());
    const failure = await failureOf(session.run(new Map([["x", f32([1, 2, 3], [3])]])));
    await session.release();
    expect(failure).toMatchObject({ code: "runtime", where: "fold it" });
    expect(failure.message).not.toContain("onnxruntime_src");
  });

  it("say which node's operator the runtime does not know", async () => {
    const g = builder("unknown", 17);
    g.input("x", "f32", [1]);
    g.add({ name: "act", domain: "", op: "Reluu", inputs: ["x"], outputs: ["y"], attributes: new Map() });
    g.output("y", "f32", [1]);
    const failure = await failureOf(cpu.compile(g.finish()));
    expect(failure).toMatchObject({ code: "runtime", where: "act" });
    expect(failure.message).toMatch(/Reluu.*standard operators\.$/);
  });
});

describe("constant sizes", () => {
  const bomb = (sizes: number[]) => {
    const g = builder("bomb", 17);
    const size = g.op(
      "Concat",
      sizes.map((n) => g.int64([n])),
      { axis: { kind: "int", value: 0 } },
    );
    g.output(g.op("ConstantOfShape", [size], {}, "zeros"), "f32");
    return g.finish();
  };

  it("are refused before the runtime allocates them", async () => {
    const failure = await failureOf(cpu.compile(bomb([2 ** 20, 2 ** 20])));
    expect(failure).toMatchObject({ code: "model", where: 'ConstantOfShape "zeros"' });
    expect(await failureOf(cpu.types(bomb([2 ** 40, 1]), new Map()))).toMatchObject({ code: "model" });
  });

  it("pass when they are moderate or when a zero makes them empty", async () => {
    expect((await evaluate(cpu, bomb([3, 2]), ["zeros"])).get("zeros")?.shape).toEqual([3, 2]);
    expect((await evaluate(cpu, bomb([2 ** 40, 0]), ["zeros"])).get("zeros")?.shape).toEqual([2 ** 40, 0]);
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
    // "axes" is a constant, so no input is needed.
    expect(toInts((await evaluate(cpu, chain(), ["axes"])).get("axes") ?? x)).toEqual([0]);
  });

  it("says which input or value is missing", async () => {
    expect((await failureOf(evaluate(cpu, chain(), ["target"]))).where).toBe("x");
    expect((await failureOf(evaluate(cpu, chain(), ["nowhere"]))).code).toBe("request");
  });
});

describe("measure", () => {
  const large = (size: number) => {
    const g = builder("large", 17);
    const x = g.input("x", "f32", [size, size]);
    g.output(g.op("MatMul", [x, x], {}, "y"), "f32", [size, size]);
    return g.finish();
  };
  const feed = (size: number) => new Map([["x", float32Tensor([size, size], new Float32Array(size * size))]]);

  it("tells slow from fast in the order of the sessions", async () => {
    const [small, big] = [await cpu.compile(large(8)), await cpu.compile(large(384))];
    const jobs = [
      { session: big, feeds: feed(384) },
      { session: small, feeds: feed(8) },
    ];
    const [slow, fast] = await cpu.measure(jobs, { runs: 15, warmup: 2 });
    expect(slow?.runs).toBe(15);
    expect(slow?.medianMs).toBeGreaterThan(fast?.medianMs ?? Number.POSITIVE_INFINITY);
    for (const latency of [slow, fast]) {
      expect(latency?.p10Ms).toBeLessThanOrEqual(latency?.medianMs ?? 0);
      expect(latency?.medianMs).toBeLessThanOrEqual(latency?.p90Ms ?? 0);
    }
    const [hurried] = await cpu.measure(jobs, { runs: 1e9, maxSeconds: 0.05 });
    expect(hurried?.runs).toBeGreaterThanOrEqual(1);
    await small.release();
    await big.release();
  });

  it("refuses sessions of another runtime", async () => {
    const other = await openRuntime({ threads: 1 });
    const session = await other.compile(large(8));
    const failure = await failureOf(cpu.measure([{ session, feeds: feed(8) }]));
    await other.close();
    expect(failure.code).toBe("request");
  });
});

describe("devices", () => {
  it("agree: wasm gives what cpu gives", async () => {
    const wasm = await openRuntime({ device: "wasm", threads: 1 });
    const feeds = new Map([["x", f32([0.1, -7, 13, 2, 0.3, 9], [2, 3])]]);
    const results: number[][] = [];
    for (const runtime of [cpu, wasm]) {
      const session = await runtime.compile(affine());
      results.push(numbers((await session.run(feeds)).get("y")));
      await session.release();
    }
    const types = await wasm.types(chain(), new Map([["x", { dtype: "f32", shape: [2, 3, 5, 7] }]]));
    await wasm.close();
    const [expected = [], got = []] = results;
    expect(got).toHaveLength(4);
    for (const [i, value] of got.entries()) expect(value).toBeCloseTo(expected[i] ?? Number.NaN, 4);
    expect(types.get("z")).toEqual({ dtype: "f32", shape: [105, 2] });
    expect(wasm.version).toMatch(/^onnxruntime-web \d/);
  });

  it("fall back to wasm without the native package, and say how to get it", async () => {
    const missing = () => Promise.reject(new Error("Cannot find package 'onnxruntime-node'"));
    const opened = await openEngine("cpu", 1, missing);
    expect(opened.device).toBe("wasm");
    expect(opened.notes.join()).toContain("npm install onnxruntime-node");
    const failure = await failureOf(openEngine("cuda", 1, missing));
    expect(failure.message).toContain("npm install onnxruntime-node");
  });
});

describe("a closed runtime", () => {
  it("refuses work", async () => {
    const runtime = await openRuntime({ threads: 1 });
    const session = await runtime.compile(affine());
    await runtime.close();
    await runtime.close();
    await session.release();
    expect((await failureOf(runtime.compile(affine()))).message).toContain("closed");
  });
});
