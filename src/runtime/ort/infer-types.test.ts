import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readOnnx } from "../../formats/onnx/read.ts";
import { fileSource } from "../../formats/source/file.node.ts";
import { int, ints, subgraph } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph, TensorType } from "../../graph/graph.ts";
import { byteLengthOf, onnxNumberOf } from "../../tensor/dtype.ts";
import { type HostTensor, sizeOf } from "../../tensor/tensor.ts";
import type { OutputType } from "../engine.ts";
import { openRuntime } from "../open-runtime.node.ts";
import { inferTypes } from "./infer-types.ts";
import { openEngine } from "./open-engine.node.ts";
import { pack } from "./pack.ts";

const cpu = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => cpu.close());

const f32 = (...shape: number[]): TensorType => ({ dtype: "f32", shape });
const text = (types: ReadonlyMap<string, TensorType>) =>
  Object.fromEntries([...types].map(([name, type]) => [name, `${type.dtype} [${type.shape}]`]));

/** Types seen by running: the oracle. */
async function typesByRunning(graph: Graph, inputs: ReadonlyMap<string, TensorType>): Promise<Map<string, TensorType>> {
  const names = graph.nodes.flatMap((node) => node.outputs.filter((name) => name !== ""));
  const session = await cpu.compile(
    { ...graph, outputs: names.map((name) => ({ name, dtype: null })) },
    { optimisation: "disabled" },
  );
  const feeds = new Map<string, HostTensor>();
  for (const [name, { dtype, shape }] of inputs) {
    feeds.set(name, { dtype, shape, bytes: new Uint8Array(byteLengthOf(dtype, sizeOf(shape))) });
  }
  const seen = new Map<string, TensorType>();
  for (const [name, { dtype, shape }] of await session.run(feeds)) seen.set(name, { dtype, shape });
  await session.release();
  return seen;
}

/** What the suite must catch: types that differ from those seen by running, or that are missing. */
function differences(found: ReadonlyMap<string, TensorType>, seen: ReadonlyMap<string, TensorType>): string[] {
  const describe = (type: TensorType | undefined) => (type === undefined ? "none" : `${type.dtype} [${type.shape}]`);
  return [...seen].flatMap(([name, type]) =>
    describe(found.get(name)) === describe(type)
      ? []
      : [`${name}: ${describe(found.get(name))}, seen ${describe(type)}`],
  );
}

function withIf(): Graph {
  const branch = (name: string, value: number[]) => {
    const b = builder(name, 17);
    b.output(b.float32(value, undefined, `${name}-value`), "f32");
    return b.finish();
  };
  const g = builder("if", 17);
  g.input("flag", "bool", []);
  g.input("x", "f32", ["n"]);
  g.op("If", ["flag"], { then_branch: subgraph(branch("yes", [1, 2])), else_branch: subgraph(branch("no", [1])) }, "y");
  g.op("NonZero", ["x"], {}, "found");
  g.output(g.op("Concat", ["x", "y"], { axis: { kind: "int", value: 0 } }, "z"), "f32");
  return g.finish();
}

/** Six pairs of blocks that read the same value and work out its next sizes, each for itself. */
function repeated(): Graph {
  const g = builder("repeated", 17);
  let last = g.input("x", "f32", ["n", 6]);
  for (let pair = 0; pair < 6; pair++) {
    const [a = "", b = ""] = [0, 1].map(() => {
      const [rows = "", columns = ""] = [0, 1].map((axis) =>
        g.op("Gather", [g.op("Shape", [last]), g.int64([axis], [])]),
      );
      const half = g.op("Div", [columns, g.int64([2], [])]);
      const sizes = [rows, half].map((size) => g.op("Unsqueeze", [size, g.int64([0], [1])]));
      const target = g.op("Concat", [...sizes, g.int64([2], [1])], { axis: { kind: "int", value: 0 } });
      return g.op("Flatten", [g.op("Reshape", [last, target])]);
    });
    last = g.op("Add", [a, b]);
  }
  g.output(last, "f32", ["n", "m"]);
  return g.finish();
}

describe("types", () => {
  it("hold inputs, constants and every computed value, scalars too", async () => {
    const g = builder("chain", 17);
    g.input("x", "f32", ["n", 3, "h", "w"]);
    const n = g.op("Gather", [g.op("Shape", ["x"], {}, "shape"), g.int64([0], [], "zero")], {}, "n0");
    const list = g.op("Unsqueeze", [n, g.int64([0], [1], "axes")], {}, "list");
    const target = g.op("Concat", [list, g.int64([-1], [1], "rest")], { axis: { kind: "int", value: 0 } }, "target");
    const flat = g.op("Reshape", ["x", target], {}, "flat");
    g.output(g.op("Transpose", [flat], { perm: ints([1, 0]) }, "z"), "f32", ["k", "n"]);
    const types = await cpu.types(g.finish(), new Map([["x", f32(2, 3, 5, 7)]]));
    expect(text(types)).toEqual({
      x: "f32 [2,3,5,7]",
      zero: "i64 []",
      axes: "i64 [1]",
      rest: "i64 [1]",
      shape: "i64 [4]",
      n0: "i64 []",
      list: "i64 [1]",
      target: "i64 [2]",
      flat: "f32 [2,105]",
      z: "f32 [105,2]",
    });
  });

  it("never read large weights", async () => {
    const g = builder("lazy", 17);
    const source = { name: "far away", size: 2 ** 40, read: () => Promise.reject(new Error("must not be read")) };
    const weight = { dtype: "f32" as const, shape: [512, 2 ** 20], at: { source, offset: 0, length: 2 ** 31 } };
    g.output(g.op("MatMul", [g.input("x", "f32", ["n", 512]), g.constant(weight, "w")], {}, "y"), "f32");
    const types = await cpu.types(g.finish(), new Map([["x", f32(4, 512)]]));
    expect(types.get("y")).toEqual(f32(4, 2 ** 20));
  });

  it("of chains that repeat are compiled once, and scalars by the kinds of nodes that give them", async () => {
    const { engine } = await openEngine("cpu", 1);
    const graph = repeated();
    const inputs = new Map([["x", f32(4, 6)]]);
    const asked: Graph[] = [];
    const found = await inferTypes(graph, inputs, {
      outputTypes: async (part) => {
        asked.push(part);
        return engine.outputTypes(await pack(part));
      },
      runOnce: () => Promise.reject(new Error("not run")),
    });
    await engine.close();
    expect(differences(found, await typesByRunning(graph, inputs))).toEqual([]);
    const count = (op: string) => asked.map(({ nodes }) => nodes.filter((node) => node.op === op).length);
    // Two blocks read each value: half of the chains. Scalars are one of two sizes, or half of one.
    expect(graph.nodes.filter(({ op }) => op === "Gather").length).toBe(24);
    expect(count("Gather")).toEqual([12, 2]);
    expect(count("Div")).toEqual([6, 1]);
  });

  it("of values that only a run can tell come from a run", async () => {
    const inputs = new Map<string, TensorType>([
      ["flag", { dtype: "bool", shape: [] }],
      ["x", f32(5)],
    ]);
    const types = await cpu.types(withIf(), inputs);
    // The run sees a true flag, and the made-up x = i·37 mod 101 / 101 whose first element is 0.
    expect(text(types)).toMatchObject({ y: "f32 [2]", z: "f32 [7]", found: "i64 [1,4]" });
  });

  it("leave out values that cannot be outputs, and keep the others", async () => {
    const asked: number[] = [];
    const types = await inferTypes(withIf(), new Map(), {
      outputTypes: async (graph): Promise<OutputType[]> => {
        asked.push(graph.outputs.length);
        if (graph.outputs.length > 1 && graph.outputs.some(({ name }) => name === "found")) throw new Error("type 16");
        if (graph.outputs[0]?.name === "found") throw new Error("type 16");
        return graph.outputs.map(({ name }) => ({ name, dtype: "f32", shape: [3] }));
      },
      runOnce: () => Promise.reject(new Error("not run")),
    });
    expect([...types.keys()].sort()).toEqual(["flag", "y", "z"]);
    expect(asked.length).toBeGreaterThan(2);
  });

  it("of values behind a cast that cannot be an output take one compilation", async () => {
    const { engine } = await openEngine("cpu", 1);
    const g = builder("casts", 26);
    g.input("stored", "u16", ["n", 3]);
    const wide = g.op(
      "Cast",
      [g.op("BitCast", ["stored"], { to: int(onnxNumberOf("bf16")) }, "b")],
      { to: int(1) },
      "w",
    );
    g.output(g.op("Transpose", [wide], {}, "y"), "f32", [3, "n"]);
    let tries = 0;
    const inputs = new Map<string, TensorType>([["stored", { dtype: "u16", shape: [5, 3] }]]);
    const types = await inferTypes(g.finish(), inputs, {
      outputTypes: async (graph) => {
        tries++;
        return engine.outputTypes(await pack(graph));
      },
      runOnce: () => Promise.reject(new Error("not run")),
    });
    await engine.close();
    expect(text(types)).toEqual({ stored: "u16 [5,3]", w: "f32 [5,3]", y: "f32 [3,5]" });
    expect(tries).toBe(1);
  });

  it("need inputs that the model has, of sizes that it takes", async () => {
    await expect(cpu.types(withIf(), new Map([["flagg", f32(1)]]))).rejects.toThrow('Did you mean "flag"?');
    await expect(cpu.types(withIf(), new Map([["x", f32(1, 1)]]))).rejects.toThrow("expected f32 [n], got f32 [1, 1]");
  });

  it("report a graph that does not compile as the runtime's failure, at its node", async () => {
    const g = builder("faulty", 17);
    const node = { name: "bad", domain: "", op: "MatMul", inputs: ["x", "x"], outputs: ["y"], attributes: new Map() };
    g.input("x", "f32", [2, 3]);
    g.add(node);
    g.output("y", "f32", [2, 3]);
    await expect(cpu.types(g.finish(), new Map())).rejects.toMatchObject({ code: "runtime", where: "bad" });
  });
});

const environment: { readonly ESPALIER_DATA?: string } = process.env;
const folder = environment.ESPALIER_DATA ?? join(import.meta.dirname, "../../../../shared/data");
const models = ["resnet20-cifar10", "resnet20-cifar10-bnfused"].map((name) => join(folder, "models", `${name}.onnx`));

describe("types of real models", () => {
  for (const path of models) {
    it.skipIf(!existsSync(path))(`equal those seen by running ${path.slice(folder.length)}`, async () => {
      const { graph } = await readOnnx(await fileSource(path));
      const inputs = new Map([["input", f32(2, 3, 32, 32)]]);
      const [found, seen] = [await cpu.types(graph, inputs), await typesByRunning(graph, inputs)];
      expect(seen.size).toBeGreaterThan(60);
      expect(differences(found, seen)).toEqual([]);
      // The fault that the comparison must see: the types of another batch size.
      const planted = await cpu.types(graph, new Map([["input", f32(3, 3, 32, 32)]]));
      expect(differences(planted, seen).length).toBeGreaterThan(50);
    });
  }
});
