import { describe, expect, it } from "vitest";
import type { Attribute, Graph, Node } from "../../graph/graph.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { memorySource } from "../source/source.ts";
import { modelOf } from "./encode.ts";
import { Message } from "./message.ts";
import { readOnnx } from "./read.ts";
import { packStrings } from "./strings.ts";
import { encodeToBytes } from "./write.ts";

const opsets = new Map([["", 17]]);

function nodeOf(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: readonly [string, Attribute][] = [],
): Node {
  return { name: `n_${outputs[0]}`, domain: "", op, inputs, outputs, attributes: new Map(attributes) };
}

/** A small model with a bit of everything that files have. */
function everything(): Graph {
  const then: Graph = {
    name: "then",
    inputs: [],
    outputs: [{ name: "t", dtype: "f32" }],
    nodes: [nodeOf("Add", ["a", "k"], ["t"])],
    constants: new Map([["k", { dtype: "f32", shape: [2], resident: new Uint8Array(8).fill(63) }]]),
    opsets,
    valueInfo: new Map(),
  };
  return {
    name: "main",
    inputs: [
      { name: "x", dtype: "f32", dims: ["n", 4] },
      { name: "c", dtype: "bool", dims: [] },
    ],
    outputs: [{ name: "y", dtype: "f32", dims: ["n", null] }],
    nodes: [
      nodeOf("MatMul", ["x", "w"], ["a"]),
      nodeOf(
        "If",
        ["c"],
        ["b"],
        [
          ["then_branch", { kind: "graph", value: then }],
          ["else_branch", { kind: "graph", value: { ...then, name: "else" } }],
        ],
      ),
      nodeOf(
        "Custom",
        ["b", "", "s"],
        ["y"],
        [
          ["ints", { kind: "ints", value: [1, -1, 300] }],
          ["floats", { kind: "floats", value: [0.5, 2] }],
          ["strings", { kind: "strings", value: ["a", "bc"] }],
          ["alpha", { kind: "float", value: 1 }],
          ["t", { kind: "tensor", value: { dtype: "i64", shape: [2], resident: new Uint8Array(16) } }],
        ],
      ),
    ],
    constants: new Map([
      ["w", { dtype: "f32", shape: [4, 1100], resident: new Uint8Array(17600).fill(60) }],
      ["s", { dtype: "string", shape: [2], resident: packStrings(["one", "two"]) }],
    ]),
    opsets,
    valueInfo: new Map([["a", { name: "a", dtype: "f32", dims: ["n", 1100] }]]),
  };
}

/** A generator of the test's own, so that a failure names its seed. */
function random(seed: number): (below: number) => number {
  let state = seed * 2654435761;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const read = (bytes: Uint8Array) => readOnnx(memorySource("hostile.onnx", bytes));

/** A model that can be written and read again, or one of our errors; anything else is rethrown. */
async function outcome(bytes: Uint8Array, reader = read): Promise<"model" | "error"> {
  try {
    const written = await encodeToBytes(await reader(bytes));
    expect(Buffer.compare(await encodeToBytes(await read(written)), written)).toBe(0);
    return "model";
  } catch (error) {
    if (error instanceof EspalierError) return "error";
    throw error;
  }
}

describe("damaged files", () => {
  it("cut at every 1/64 of their length give an error", async () => {
    const bytes = await encodeToBytes(modelOf(everything()));
    expect(await outcome(bytes)).toBe("model");
    const model = [];
    for (let i = 0; i < 64; i++) {
      const cut = Math.floor((bytes.length * i) / 64);
      if ((await outcome(bytes.slice(0, cut))) === "model") model.push(cut);
    }
    expect(model).toEqual([]);
  });

  it("with one flipped bit give a model or an error", async () => {
    const bytes = await encodeToBytes(modelOf(everything()));
    // Weights take most of the file and any bit of them is valid: flips go to the rest.
    const weights = bytes.indexOf(60, bytes.length - 18_000);
    const counts = { model: 0, error: 0 };
    for (let seed = 0; seed < 1000; seed++) {
      const next = random(seed);
      const damaged = bytes.slice();
      const spot = next(bytes.length - 17_600);
      const at = spot < weights ? spot : spot + 17_600;
      damaged[at] = (damaged[at] ?? 0) ^ (1 << next(8));
      counts[await outcome(damaged)]++;
    }
    expect(counts.model).toBeGreaterThan(50);
    expect(counts.error).toBeGreaterThan(50);
  });

  it("the check sees a reader that throws something else", async () => {
    const careless = async (): ReturnType<typeof read> => {
      throw new RangeError("Invalid array length");
    };
    await expect(outcome(new Uint8Array(3), careless)).rejects.toThrow(RangeError);
  });
});

function bytesOf(m: Message): Uint8Array {
  return new Uint8Array(Buffer.concat(m.pieces().filter((piece) => piece instanceof Uint8Array)));
}

const modelWith = (graph: Message) =>
  bytesOf(new Message().int(1, 8).message(7, graph).message(8, new Message().int(2, 17)));
const withTensor = (tensor: Message) => modelWith(new Message().string(2, "g").message(5, tensor));
const tensor = (type: number, ...dims: (number | bigint)[]) => {
  const m = new Message().int(2, type).string(8, "w");
  for (const size of dims) m.int(1, size);
  return m;
};

describe("crafted files", () => {
  const refused = (bytes: Uint8Array) => expect(read(bytes)).rejects;

  it("sizes that no file can hold are refused before memory is asked for", async () => {
    await refused(withTensor(tensor(1, 2 ** 40).bytes(9, new Uint8Array(4)))).toThrow(
      /expected 4398046511104 bytes of data, got 4/,
    );
    await refused(withTensor(tensor(1, 2n ** 62n, 2n ** 62n))).toMatchObject({ code: "format" });
    await refused(withTensor(tensor(1, -1))).toThrow(/expected sizes that a file can hold, got \[-1\]/);
    await refused(withTensor(tensor(7, 2 ** 40).int(7, 1))).toThrow(/expected 1099511627776 numbers, got 1/);
    await refused(withTensor(tensor(99, 1))).toThrow(/expected an element type from 1 to 26, got 99/);
    await refused(withTensor(tensor(8, 2 ** 40))).toThrow(/strings, got 0/);
  });

  it("sparse tensors that would be huge or point outside are refused", async () => {
    const sparse = (index: number, size: number) =>
      modelWith(
        new Message().message(
          15,
          new Message()
            .message(1, tensor(1, 1).float(4, 1))
            .message(2, new Message().int(2, 7).int(1, 1).int(7, index))
            .int(3, size),
        ),
      );
    expect((await read(sparse(2, 3))).graph.constants.get("w")?.shape).toEqual([3]);
    await refused(sparse(3, 3)).toThrow(/expected indices below 3, got 3/);
    await refused(sparse(-1, 3)).toThrow(/got -1/);
    await refused(sparse(0, 2 ** 36)).toMatchObject({ code: "model" });
  });

  it("graphs in graphs end at a depth", async () => {
    let graph = new Message().string(2, "leaf");
    for (let i = 0; i < 3000; i++) {
      const attribute = new Message().string(1, "body").message(6, graph).int(20, 5);
      graph = new Message().message(1, new Message().string(4, "If").message(5, attribute));
    }
    await refused(modelWith(graph)).toMatchObject({ code: "format" });
  });

  it("bytes that are no ONNX model are refused", async () => {
    for (const text of [
      "",
      "PK\u0003\u0004",
      "<!doctype html>",
      "version https://git-lfs.github.com/spec/v1\n",
      "\u0000".repeat(99),
    ]) {
      await refused(new TextEncoder().encode(text)).toMatchObject({ code: "format" });
    }
  });

  it("a file that is all empty nodes is refused before they fill the memory", async () => {
    const nodes = new Uint8Array(2_000_000);
    for (let i = 0; i < nodes.length; i += 2) nodes[i] = 10;
    await refused(modelWith(new Message().raw([nodes]))).toThrow(/expected at most 8000000 parts, got more/);
  });
});

describe("external data", () => {
  const entry = (key: string, value: string) => new Message().string(1, key).string(2, value);
  const external = (entries: Record<string, string>, dims = 8) => {
    const m = tensor(1, dims).int(14, 1);
    for (const [key, value] of Object.entries(entries)) m.message(13, entry(key, value));
    return withTensor(m);
  };
  const data: ByteSource = memorySource(
    "w.bin",
    Uint8Array.from({ length: 100 }, (_, i) => i),
  );
  const readWith = (bytes: Uint8Array) => readOnnx(memorySource("m.onnx", bytes), { sibling: async () => data });

  it("is read at its offset, small tensors at once", async () => {
    const model = await readWith(external({ location: "w.bin", offset: "64", length: "32", checksum: "abc" }));
    expect(model.graph.constants.get("w")?.resident).toEqual(await data.read(64, 32));
    await expect(read(external({ location: "w.bin" }))).rejects.toThrow(
      /expected its data file "w.bin", got the model file alone/,
    );
  });

  it("outside its file or of another length is refused", async () => {
    const cases: [Record<string, string>, RegExp][] = [
      [{ location: "w.bin", offset: "70" }, /expected 32 bytes at 70 of "w.bin", got the end at 100/],
      [{ location: "w.bin", length: "31" }, /expected 32 bytes of data, got 31/],
      [{ location: "w.bin", offset: "-1" }, /expected offset to be a number of bytes, got "-1"/],
      [{ location: "w.bin", offset: "9e9" }, /got "9e9"/],
      [{ location: "w.bin", offset: "9999999999999999" }, /got "9999999999999999"/],
    ];
    for (const [entries, message] of cases) await expect(readWith(external(entries))).rejects.toThrow(message);
  });

  it("that many tensors share is not loaded many times", async () => {
    const graph = new Message();
    for (let i = 0; i < 200; i++) {
      const m = new Message()
        .int(1, 20)
        .int(2, 1)
        .string(8, `w${i}`)
        .int(14, 1)
        .message(13, entry("location", "w.bin"));
      graph.message(5, m);
    }
    const model = await readWith(modelWith(graph));
    const resident = [...model.graph.constants.values()].filter((ref) => ref.resident !== undefined);
    expect(resident).toHaveLength(1);
  });
});
