import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Attribute, Graph, Node, ValueInfo } from "../../graph/graph.ts";
import { byteLengthOf, type DType } from "../../tensor/dtype.ts";
import { load, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import { memorySource } from "../source/source.ts";
import { modelOf } from "./encode.ts";
import { openOnnx } from "./external.node.ts";
import type { OnnxModel } from "./model.ts";
import { readOnnx } from "./read.ts";
import { packStrings } from "./strings.ts";
import { encodeToBytes, writeOnnx } from "./write.ts";

const dtypes: readonly DType[] = [
  ...(["f32", "f64", "f16", "bf16", "f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f8e8m0", "f4e2m1"] as const),
  ...(["i8", "i16", "i32", "i64", "i4", "i2", "u8", "u16", "u32", "u64", "u4", "u2"] as const),
  ...(["bool", "string", "c64", "c128"] as const),
];

function tensorOf(dtype: DType, shape: readonly number[], seed = 1): TensorRef {
  if (dtype === "string") {
    const words = Array.from({ length: sizeOf(shape) }, (_, i) => `wörd ${i * seed}`);
    return { dtype, shape, resident: packStrings(words) };
  }
  const resident = Uint8Array.from({ length: byteLengthOf(dtype, sizeOf(shape)) }, (_, i) => (i * 7 + seed) & 255);
  return { dtype, shape, resident };
}

function graphOf(parts: Partial<Graph> & Pick<Graph, "nodes">): Graph {
  return {
    name: "g",
    inputs: [{ name: "x", dtype: "f32", dims: ["batch", 3, null] }],
    outputs: [{ name: "y", dtype: "f32" }],
    constants: new Map(),
    opsets: new Map([
      ["", 17],
      ["com.microsoft", 1],
    ]),
    valueInfo: new Map(),
    ...parts,
  };
}

function nodeOf(parts: Partial<Node> & Pick<Node, "op">): Node {
  return { name: "", domain: "", inputs: ["x"], outputs: ["y"], attributes: new Map(), ...parts };
}

const read = (bytes: Uint8Array) => readOnnx(memorySource("model.onnx", bytes));

/** What a model says, with its tensors loaded, as one comparable value. */
async function contents(graph: Graph): Promise<unknown> {
  const tensor = async (ref: TensorRef) => {
    const { dtype, shape, bytes } = await load(ref);
    return [dtype, shape, Buffer.from(bytes).toString("base64"), ref.unknown];
  };
  const attribute = async (a: Attribute) => {
    if (a.kind === "tensor") return [a.kind, await tensor(a.value), a.unknown];
    return a.kind === "graph" ? [a.kind, await contents(a.value), a.unknown] : a;
  };
  return {
    ...graph,
    constants: await Promise.all([...graph.constants].map(async ([name, ref]) => [name, await tensor(ref)])),
    nodes: await Promise.all(
      graph.nodes.map(async (node) => ({
        ...node,
        attributes: await Promise.all([...node.attributes].map(async ([name, a]) => [name, await attribute(a)])),
      })),
    ),
  };
}

/** The law of the codec: reading what was written gives the same model, and writing that gives the same bytes. */
async function roundTrips(model: OnnxModel, codec = read): Promise<void> {
  const bytes = await encodeToBytes(model);
  const again = await codec(bytes);
  expect({ ...again, graph: await contents(again.graph) }).toEqual({ ...model, graph: await contents(model.graph) });
  expect(Buffer.compare(await encodeToBytes(again), bytes)).toBe(0);
}

it("every element type survives, small and large, as constant and as attribute", async () => {
  for (const dtype of dtypes) {
    const constants = new Map([
      ["w", tensorOf(dtype, [5, 3])],
      ["scalar", tensorOf(dtype, [])],
      ["empty", tensorOf(dtype, [0, 4])],
      ["large", tensorOf(dtype, dtype === "string" ? [9] : [9, 9001])],
    ]);
    const attributes = new Map([["value", { kind: "tensor", value: tensorOf(dtype, [3]) } as const]]);
    const valueInfo = new Map([["w", { name: "w", dtype, dims: [5, 3] }]]);
    await roundTrips(modelOf(graphOf({ nodes: [nodeOf({ op: "Custom", attributes })], constants, valueInfo })));
  }
});

it("every kind of attribute survives", async () => {
  const inner = graphOf({ nodes: [nodeOf({ op: "Neg", inputs: ["outer"], outputs: ["y"] })], inputs: [] });
  const attributes = new Map<string, Attribute>([
    ["float", { kind: "float", value: 0.5 }],
    ["infinite", { kind: "float", value: Number.NEGATIVE_INFINITY }],
    ["int", { kind: "int", value: -7 }],
    ["end", { kind: "int", value: 2 ** 63 }],
    ["start", { kind: "int", value: -(2 ** 63) }],
    ["string", { kind: "string", value: "\ufeffnaïve \u0000 名" }],
    ["floats", { kind: "floats", value: [1, -0, 2.5] }],
    ["ints", { kind: "ints", value: [0, -1, 2 ** 53, 2 ** 63] }],
    ["none", { kind: "ints", value: [] }],
    ["strings", { kind: "strings", value: ["", "b"] }],
    ["graph", { kind: "graph", value: inner }],
    // Field 3 (i) with 2^53 + 1, which no double holds, and its type.
    ["odd", { kind: "opaque", value: new Uint8Array([24, 129, 128, 128, 128, 128, 128, 128, 16, 160, 1, 2]) }],
    // Field 13, a doc string.
    ["noted", { kind: "int", value: 1, unknown: [new Uint8Array([106, 1, 65])] }],
  ]);
  const nodes = [nodeOf({ op: "Relu", outputs: ["outer"] }), nodeOf({ op: "Custom", attributes, domain: "my.ops" })];
  await roundTrips(modelOf(graphOf({ nodes })));
});

it("what stands around the graph survives, fields of newer versions included", async () => {
  const field = (number: number) => new Uint8Array([((number << 3) & 127) | 130, number >> 4, 2, 104, 105]);
  const info: ValueInfo = { name: "s", dtype: null, raw: new Uint8Array([34, 4, 10, 2, 8, 1]), unknown: [field(20)] };
  const denoted = new Uint8Array([10, 11, 8, 1, 18, 7, 10, 5, 8, 3, 26, 1, 78, 50, 1, 73]);
  const graph = graphOf({
    nodes: [nodeOf({ op: "Abs", name: "odd name / \u0001 ✓", unknown: [field(30)] })],
    outputs: [{ name: "y", dtype: "f32", dims: [3], raw: denoted }],
    constants: new Map([["w", { ...tensorOf("f32", [2]), unknown: [field(40)] }]]),
    valueInfo: new Map([["s", info]]),
    unknown: [field(50)],
  });
  await roundTrips({
    ...modelOf(graph),
    producerName: "pytorch",
    producerVersion: "2",
    domain: "org",
    modelVersion: -(2n ** 63n),
    doc: "text",
    metadata: new Map([
      ["a", ""],
      ["", "b"],
    ]),
    unknown: [field(60)],
  });
});

it("a changed type keeps its denotation and drops those of its old sizes", async () => {
  const denoted = new Uint8Array([10, 11, 8, 1, 18, 7, 10, 5, 8, 3, 26, 1, 78, 50, 1, 73]);
  const graph = graphOf({
    nodes: [nodeOf({ op: "Abs" })],
    outputs: [{ name: "y", dtype: "f32", dims: [2], raw: denoted }],
  });
  const [output] = (await read(await encodeToBytes(modelOf(graph)))).graph.outputs;
  expect(output).toEqual({
    name: "y",
    dtype: "f32",
    dims: [2],
    raw: new Uint8Array([10, 8, 8, 1, 18, 4, 10, 2, 8, 2, 50, 1, 73]),
  });
});

it("random models survive", async () => {
  const name = fc.string({ unit: "grapheme", maxLength: 6 });
  const attribute: fc.Arbitrary<Attribute> = fc.oneof(
    fc.record({ kind: fc.constant("int" as const), value: fc.maxSafeInteger() }),
    fc.record({ kind: fc.constant("ints" as const), value: fc.array(fc.maxSafeInteger()) }),
    fc.record({ kind: fc.constant("float" as const), value: fc.float({ noNaN: true }) }),
    fc.record({ kind: fc.constant("floats" as const), value: fc.array(fc.float({ noNaN: true })) }),
    fc.record({ kind: fc.constant("string" as const), value: name }),
    fc.record({ kind: fc.constant("strings" as const), value: fc.array(name) }),
  );
  const tensor = fc
    .tuple(fc.constantFrom(...dtypes), fc.array(fc.nat(5), { maxLength: 4 }), fc.nat(99))
    .map(([dtype, shape, seed]) => tensorOf(dtype, shape, seed));
  const arbitrary = fc.record({
    steps: fc.array(fc.record({ name, attributes: fc.array(fc.tuple(name, attribute), { maxLength: 4 }) }), {
      maxLength: 8,
    }),
    tensors: fc.array(tensor, { maxLength: 4 }),
    doc: name,
  });
  await fc.assert(
    fc.asyncProperty(arbitrary, async ({ steps, tensors, doc }) => {
      const nodes = steps.map((step, i) =>
        nodeOf({
          op: "Op",
          name: step.name,
          inputs: [i === 0 ? "x" : `v${i - 1}`, ...tensors.map((_, j) => `c${j}`)],
          outputs: [`v${i}`],
          attributes: new Map(step.attributes),
        }),
      );
      const outputs = [{ name: steps.length === 0 ? "x" : `v${steps.length - 1}`, dtype: null }];
      const constants = new Map(tensors.map((ref, j) => [`c${j}`, ref]));
      await roundTrips({ ...modelOf(graphOf({ nodes, outputs, constants })), doc });
    }),
    { numRuns: 60 },
  );
});

it("the law sees a codec that loses something", async () => {
  const model = modelOf(
    graphOf({ nodes: [nodeOf({ op: "Abs", name: "n" })], constants: new Map([["w", tensorOf("f32", [2])]]) }),
  );
  await roundTrips(model);
  const nameless = async (bytes: Uint8Array) => {
    const { graph, ...rest } = await read(bytes);
    return { ...rest, graph: { ...graph, nodes: graph.nodes.map((node) => ({ ...node, name: "" })) } };
  };
  await expect(roundTrips(model, nameless)).rejects.toThrow();
  const zeroed = async (bytes: Uint8Array) => {
    const { graph, ...rest } = await read(bytes);
    return { ...rest, graph: { ...graph, constants: new Map([["w", { ...tensorOf("f32", [2], 0) }]]) } };
  };
  await expect(roundTrips(model, zeroed)).rejects.toThrow();
});

it("weights in a source are written in chunks, without being held", async () => {
  const weights = tensorOf("f32", [3_000_000]);
  const bytes = await encodeToBytes(
    modelOf(graphOf({ nodes: [nodeOf({ op: "Abs" })], constants: new Map([["w", weights]]) })),
  );
  const source = memorySource("m", bytes);
  let largest = 0;
  const watched = {
    ...source,
    read: (offset: number, length: number) => {
      largest = Math.max(largest, length);
      return source.read(offset, length);
    },
  };
  const model = await readOnnx(watched);
  const chunks: Uint8Array[] = [];
  await writeOnnx(model, { write: async (chunk) => void chunks.push(chunk) });
  expect(largest).toBeLessThanOrEqual(4 * 1024 * 1024);
  expect(Buffer.compare(Buffer.concat(chunks), bytes)).toBe(0);
});

it("a constant whose bytes do not fill its shape is not written", async () => {
  const constants = new Map([["w", { ...tensorOf("f32", [2]), shape: [3] }]]);
  await expect(encodeToBytes(modelOf(graphOf({ nodes: [nodeOf({ op: "Abs" })], constants })))).rejects.toThrow(
    'constant "w": expected 12 bytes for [3] of f32, got 8.',
  );
});

const { ESPALIER_DATA: data = "../shared/data" } = process.env;
const folder = join(data, "models");
const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".onnx")) : [];

/** Only that it loads is asked of the runtime, and that it computes the same. */
async function runtime() {
  return import("onnxruntime-node").catch(() => undefined);
}

it("the runtime computes the same from a written file", async ({ skip }) => {
  const ort = await runtime();
  if (ort === undefined) return skip("onnxruntime-node cannot be loaded here");
  if (files.length === 0) return skip("no models in ESPALIER_DATA");
  for (const file of files) {
    const path = join(folder, file);
    const model = await openOnnx(path);
    const bytes = await encodeToBytes(model);
    expect(Buffer.compare(await encodeToBytes(await read(bytes)), bytes)).toBe(0);
    const [input] = model.graph.inputs;
    if (input === undefined) continue;
    const dims = (input.dims ?? []).map((size) => (typeof size === "number" ? size : 2));
    const feeds = {
      [input.name]: new ort.Tensor(
        "float32",
        Float32Array.from({ length: sizeOf(dims) }, (_, i) => Math.sin(i)),
        dims,
      ),
    };
    const original = await ort.InferenceSession.create(path);
    const written = await ort.InferenceSession.create(bytes);
    const expected = await original.run(feeds);
    const got = await written.run(feeds);
    for (const [name, value] of Object.entries(expected))
      expect(got[name]?.data, `${file} ${name}`).toEqual(value.data);
    await original.release();
    await written.release();
  }
});
