import { expect, it } from "vitest";
import type { Graph } from "../../graph/graph.ts";
import { load } from "../../tensor/tensor.ts";
import { memorySource } from "../source/source.ts";
import { Message } from "./message.ts";
import type { OnnxModel } from "./model.ts";
import { readOnnx } from "./read.ts";
import { unpackStrings } from "./strings.ts";
import { encodeToBytes } from "./write.ts";

const message = () => new Message();

function bytesOf(m: Message): Uint8Array {
  return new Uint8Array(Buffer.concat(m.pieces().filter((piece) => piece instanceof Uint8Array)));
}

interface NodeSpec {
  readonly op: string;
  readonly in?: readonly string[];
  readonly out: readonly string[];
  readonly domain?: string;
  readonly attributes?: readonly Message[];
}

function node(spec: NodeSpec): Message {
  const m = message().string(3, "").string(4, spec.op);
  for (const name of spec.in ?? []) m.string(1, name);
  for (const name of spec.out) m.string(2, name);
  for (const attribute of spec.attributes ?? []) m.message(5, attribute);
  return m.string(7, spec.domain ?? "");
}

function graph(nodes: readonly NodeSpec[], outputs: readonly string[], add?: (m: Message) => void): Message {
  const m = message().string(2, "g");
  for (const spec of nodes) m.message(1, node(spec));
  for (const name of outputs) m.message(12, message().string(1, name));
  add?.(m);
  return m;
}

function modelBytes(body: Message, add?: (m: Message) => void): Uint8Array {
  const m = message().int(1, 8).message(7, body).message(8, message().int(2, 17));
  add?.(m);
  return bytesOf(m);
}

const input = (name: string) => (m: Message) => m.message(11, message().string(1, name));
const read = (bytes: Uint8Array): Promise<OnnxModel> => readOnnx(memorySource("test.onnx", bytes));
const ops = (g: Graph) => g.nodes.map((n) => `${n.op}(${n.inputs.join(",")})->${n.outputs.join(",")}`);

async function constant(model: OnnxModel, name: string) {
  const ref = model.graph.constants.get(name);
  if (ref === undefined) throw new Error(`no constant ${name}`);
  return load(ref);
}

/** The same tensor in each typed field, against its bytes in memory. */
it("typed data become packed bytes", async () => {
  const packed = (values: readonly (number | bigint)[]) => {
    const m = message();
    for (const value of values) m.int(1, value);
    // Without the one-byte tags: the packed form.
    return Uint8Array.from(bytesOf(m)).filter((_, i, all) => !(all[i] === 8 && (i === 0 || (all[i - 1] ?? 0) < 128)));
  };
  const cases = [
    { name: "u8", type: 2, dims: [3], field: 5, values: [1, 2, 255], want: [1, 2, 255] },
    { name: "i8", type: 3, dims: [2], field: 5, values: [-1, -128], want: [255, 128] },
    { name: "i16", type: 5, dims: [2], field: 5, values: [-2, 300], want: [254, 255, 44, 1] },
    { name: "f16", type: 10, dims: [1], field: 5, values: [0x3c00], want: [0, 0x3c] },
    { name: "i32", type: 6, dims: [1], field: 5, values: [-2], want: [254, 255, 255, 255] },
    { name: "bool", type: 9, dims: [2], field: 5, values: [1, 0], want: [1, 0] },
    { name: "i4", type: 22, dims: [3], field: 5, values: [0x21, 0x03], want: [0x21, 3] },
    { name: "i64", type: 7, dims: [1], field: 7, values: [-(2n ** 62n)], want: [0, 0, 0, 0, 0, 0, 0, 192] },
    { name: "u32", type: 12, dims: [1], field: 11, values: [2 ** 32 - 1], want: [255, 255, 255, 255] },
    { name: "u64", type: 13, dims: [1], field: 11, values: [-1n], want: new Array(8).fill(255) },
  ];
  const body = (form: "packed" | "single") =>
    graph([], [], (m) => {
      for (const { name, type, dims, field, values } of cases) {
        const t = message().int(2, type).string(8, name);
        for (const size of dims) t.int(1, size);
        if (form === "packed") t.bytes(field, packed(values));
        else for (const value of values) t.int(field, value);
        m.message(5, t);
      }
    });
  for (const form of ["single", "packed"] as const) {
    const model = await read(modelBytes(body(form)));
    for (const { name, want } of cases)
      expect([...(await constant(model, name)).bytes], `${form} ${name}`).toEqual(want);
  }
});

it("large packed floats stay in the source, and parts of them are put together", async () => {
  const floats = new Uint8Array(Float32Array.from({ length: 8192 }, (_, i) => i).buffer);
  const bytes = modelBytes(
    graph([], [], (m) => {
      m.message(5, message().int(1, 8192).int(2, 1).string(8, "one").bytes(4, floats));
      const half = floats.length / 2 + 2;
      m.message(
        5,
        message().int(1, 8192).int(2, 1).string(8, "two").bytes(4, floats.slice(0, half)).bytes(4, floats.slice(half)),
      );
    }),
  );
  const model = await read(bytes);
  expect(model.graph.constants.get("one")?.resident).toBeUndefined();
  expect((await constant(model, "one")).bytes).toEqual(floats);
  expect((await constant(model, "two")).bytes).toEqual(floats);
});

it("what is small or counts things is resident, what is large is not read", async () => {
  const tensor = (name: string, type: number, width: number, count: number) =>
    message()
      .int(1, count)
      .int(2, type)
      .string(8, name)
      .bytes(9, new Uint8Array(count * width));
  const bytes = modelBytes(
    graph([], [], (m) => {
      m.message(5, tensor("small", 1, 4, 4096));
      m.message(5, tensor("weight", 1, 4, 500_000));
      m.message(5, tensor("indices", 7, 8, 131_072));
      m.message(5, tensor("table", 7, 8, 131_073));
    }),
  );
  let largest = 0;
  const source = memorySource("m", bytes);
  const model = await readOnnx({
    ...source,
    read: (offset, length) => {
      largest = Math.max(largest, length);
      return source.read(offset, length);
    },
  });
  const residents = [...model.graph.constants].filter(([, ref]) => ref.resident !== undefined).map(([name]) => name);
  expect(residents).toEqual(["small", "indices"]);
  expect(largest).toBeLessThan(1_500_000);
});

it("every form of Constant becomes a constant", async () => {
  const attribute = (name: string, fill: (m: Message) => Message) => fill(message().string(1, name));
  const sparse = message()
    .message(1, message().int(1, 2).int(2, 1).float(4, 1.5).float(4, -2))
    .message(2, message().int(1, 2).int(1, 2).int(2, 7).int(7, 0).int(7, 1).int(7, 1).int(7, 2))
    .int(3, 2)
    .int(3, 3);
  const forms: readonly (readonly [string, Message])[] = [
    ["t", attribute("value", (m) => m.message(5, message().int(1, 1).int(2, 1).float(4, 7)).int(20, 4))],
    ["f", attribute("value_float", (m) => m.float(2, 1.5).int(20, 1))],
    ["fs", attribute("value_floats", (m) => m.float(7, 1).float(7, 2).int(20, 6))],
    ["i", attribute("value_int", (m) => m.int(3, -3).int(20, 2))],
    [
      "is",
      attribute("value_ints", (m) =>
        m
          .int(8, 2n ** 62n + 1n)
          .int(8, 2)
          .int(20, 7),
      ),
    ],
    ["s", attribute("value_string", (m) => m.string(4, "hé").int(20, 3))],
    [
      "ss",
      attribute("value_strings", (m) =>
        m
          .bytes(9, new Uint8Array([255]))
          .string(9, "b")
          .int(20, 8),
      ),
    ],
    ["sp", attribute("sparse_value", (m) => m.message(22, sparse).int(20, 11))],
  ];
  const model = await read(
    modelBytes(
      graph(
        forms.map(([out, form]) => ({ op: "Constant", out: [out], attributes: [form] })),
        [],
      ),
    ),
  );
  expect(model.graph.nodes).toEqual([]);
  const f32 = async (name: string) => {
    const { bytes, shape } = await constant(model, name);
    return [[...shape], [...new Float32Array(bytes.slice().buffer)]];
  };
  const i64 = async (name: string) => [...new BigInt64Array((await constant(model, name)).bytes.slice().buffer)];
  expect(await f32("t")).toEqual([[1], [7]]);
  expect(await f32("f")).toEqual([[], [1.5]]);
  expect(await f32("fs")).toEqual([[2], [1, 2]]);
  expect(await i64("i")).toEqual([-3n]);
  expect(await i64("is")).toEqual([2n ** 62n + 1n, 2n]);
  expect(unpackStrings((await constant(model, "s")).bytes)).toEqual(["hé"]);
  expect([...(await constant(model, "ss")).bytes]).toEqual([1, 0, 0, 0, 255, 1, 0, 0, 0, 98]);
  expect(await f32("sp")).toEqual([
    [2, 3],
    [0, 1.5, 0, 0, 0, -2],
  ]);
});

it("functions are inlined with their attributes, inner names stay apart", async () => {
  const reference = (name: string, to: string, type: number) => message().string(1, name).string(21, to).int(20, type);
  const float = (name: string, value: number) => message().string(1, name).float(2, value).int(20, 1);
  const branch = graph([{ op: "Neg", in: ["q"], out: ["n"] }], ["n"]);
  const leaky = message().string(1, "Leaky").string(10, "my").string(4, "a").string(5, "b").string(6, "slope");
  leaky.message(7, node({ op: "LeakyRelu", in: ["a"], out: ["b"], attributes: [reference("alpha", "slope", 1)] }));
  const both = message().string(1, "Both").string(10, "my").string(4, "p").string(4, "c").string(5, "r").string(5, "p");
  both
    .message(11, float("add", 4))
    .message(7, node({ op: "Constant", out: ["k"], attributes: [reference("value_float", "add", 1)] }))
    .message(7, node({ op: "Leaky", domain: "my", in: ["p"], out: ["q"], attributes: [float("slope", 0.5)] }))
    .message(
      7,
      node({
        op: "If",
        in: ["c"],
        out: ["i"],
        attributes: [message().string(1, "then_branch").message(6, branch).int(20, 5)],
      }),
    )
    .message(7, node({ op: "Sum", in: ["i", "k", "q"], out: ["r"] }));
  const body = graph(
    [
      { op: "Both", domain: "my", in: ["x", "c"], out: ["u", "v"], attributes: [float("add", 2)] },
      { op: "Both", domain: "my", in: ["u", "c"], out: ["y"] },
    ],
    ["y", "v"],
    (m) => {
      input("x")(m);
      input("c")(m);
    },
  );
  const model = await read(modelBytes(body, (m) => m.message(25, leaky).message(25, both)));
  expect(ops(model.graph)).toEqual([
    "LeakyRelu(x)->Both/q",
    "If(c)->Both/i",
    "Sum(Both/i,Both/k,Both/q)->u",
    "Identity(x)->v",
    "LeakyRelu(u)->Both/q_1",
    "If(c)->Both/i_3",
    "Sum(Both/i_3,Both/k_0,Both/q_1)->y",
  ]);
  expect(model.graph.nodes[0]?.attributes.get("alpha")).toEqual({ kind: "float", value: 0.5 });
  const then = model.graph.nodes[5]?.attributes.get("then_branch");
  expect(then?.kind === "graph" ? ops(then.value) : []).toEqual(["Neg(Both/q_1)->Both/n_2"]);
  expect(new Float32Array((await constant(model, "Both/k")).bytes.slice().buffer)[0]).toBe(2);
  expect(new Float32Array((await constant(model, "Both/k_0")).bytes.slice().buffer)[0]).toBe(4);
});

it("functions that call themselves or double at each level are refused", async () => {
  const call = (op: string, inName: string, out: string) => node({ op, domain: "f", in: [inName], out: [out] });
  const functionOf = (name: string, ...nodes: Message[]) => {
    const m = message().string(1, name).string(10, "f").string(4, "a").string(5, "c");
    for (const n of nodes) m.message(7, n);
    return m;
  };
  const body = graph([{ op: "f0", domain: "f", in: ["x"], out: ["y"] }], ["y"], input("x"));
  const self = modelBytes(body, (m) => m.message(25, functionOf("f0", call("f0", "a", "c"))));
  await expect(read(self)).rejects.toThrow(/expected functions that end, got "f0" in itself/);
  const bomb = modelBytes(body, (m) => {
    for (let i = 0; i < 40; i++) {
      m.message(25, functionOf(`f${i}`, call(`f${i + 1}`, "a", "b"), call(`f${i + 1}`, "b", "c")));
    }
  });
  await expect(read(bomb)).rejects.toThrow(/expected at most 262144 nodes/);
});

it("nodes are put in order, subgraph captures included; an order that holds is kept", async () => {
  const branch = graph([{ op: "Neg", in: ["late"], out: ["n"] }], ["n"]);
  const attributes = [message().string(1, "then_branch").message(6, branch).int(20, 5)];
  const nodes: NodeSpec[] = [
    { op: "If", in: ["c"], out: ["y"], attributes },
    { op: "Relu", in: ["x"], out: ["late"] },
    { op: "Abs", in: ["x"], out: ["z"] },
  ];
  const add = (m: Message) => {
    input("x")(m);
    input("c")(m);
  };
  const model = await read(modelBytes(graph(nodes, ["y", "z"], add)));
  expect(model.graph.nodes.map((n) => n.op)).toEqual(["Relu", "If", "Abs"]);
});

it("graphs that are not valid are refused with their nodes", async () => {
  const refuse = (nodes: readonly NodeSpec[], outputs: readonly string[]) =>
    read(modelBytes(graph(nodes, outputs, input("x")))).then(
      () => "accepted",
      (error: unknown) => (error instanceof Error ? error.message : ""),
    );
  expect({
    cycle: await refuse(
      [
        { op: "Add", in: ["x", "b"], out: ["a"] },
        { op: "Neg", in: ["a"], out: ["b"] },
      ],
      ["a"],
    ),
    twice: await refuse(
      [
        { op: "Abs", in: ["x"], out: ["a"] },
        { op: "Neg", in: ["x"], out: ["a"] },
      ],
      ["a"],
    ),
    missing: await refuse([{ op: "Abs", in: ["nowhere\n"], out: ["a"] }], ["a"]),
    output: await refuse([], ["a"]),
    input: await refuse([{ op: "Abs", in: ["x"], out: ["x"] }], ["x"]),
    good: await refuse([{ op: "Abs", in: ["x", ""], out: ["a", ""] }], ["a"]),
  }).toMatchInlineSnapshot(`
    {
      "cycle": "b (Neg): expected nodes in an order, got a cycle of b (Neg), a (Add). The file is damaged; export it again.",
      "good": "accepted",
      "input": "x (Abs): expected a new name for its value, got "x" again.",
      "missing": "a (Abs): expected value "nowhere\\n" from a node, an initializer or an input, got none. The file is damaged or was cut out of a larger model.",
      "output": "graph "g": expected value "a" from a node, an initializer or an input, got none. The file is damaged or was cut out of a larger model.",
      "twice": "a (Neg): expected a new name for its value, got "a" again.",
    }
  `);
});

it("initializers that are inputs too are constants, and -1 is an unknown size", async () => {
  const dimension = (size: number) => message().message(1, message().int(1, size));
  const typed = (name: string) =>
    message()
      .string(1, name)
      .message(2, message().message(1, message().int(1, 1).message(2, dimension(-1))));
  const body = graph([{ op: "Add", in: ["x", "w"], out: ["y"] }], ["y"], (m) => {
    m.message(11, typed("x")).message(11, typed("w"));
    m.message(5, message().int(1, 1).int(2, 1).string(8, "w").float(4, 3));
  });
  const model = await read(modelBytes(body));
  expect(model.graph.inputs).toMatchObject([{ name: "x", dtype: "f32", dims: [null] }]);
  expect([...model.graph.constants.keys()]).toEqual(["w"]);
});

it("IR versions before 4 are written as 4, with the operator set kept", async () => {
  const bytes = bytesOf(
    message()
      .int(1, 3)
      .message(7, graph([{ op: "Abs", in: ["x"], out: ["y"] }], ["y"], input("x")))
      .message(8, message().string(1, "ai.onnx").int(2, 7)),
  );
  const model = await read(bytes);
  expect(model.irVersion).toBe(3);
  const again = await read(await encodeToBytes(model));
  expect(again.irVersion).toBe(4);
  expect([...again.graph.opsets]).toEqual([["", 7]]);
});
