import { describe, expect, it } from "vitest";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, fromInts, toFloat32 } from "../../tensor/numeric.ts";
import { load, refOf, type TensorRef, tensor } from "../../tensor/tensor.ts";
import { encodeSafetensors } from "../safetensors/write.ts";
import { memoryFolder } from "./folder.ts";
import { jsonText } from "./json.ts";
import { openCheckpoint } from "./open.ts";

const text = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

async function safetensors(tensors: Readonly<Record<string, TensorRef>>, metadata = new Map([["format", "pt"]])) {
  const pieces = encodeSafetensors({ tensors: new Map(Object.entries(tensors)), metadata });
  const parts = await Promise.all(
    pieces.map(async (piece) => (piece instanceof Uint8Array ? piece : (await load(piece)).bytes)),
  );
  return new Uint8Array(Buffer.concat(parts));
}

const numbers = (...values: number[]): TensorRef => refOf(float32Tensor([values.length], Float32Array.from(values)));
const open = (files: Readonly<Record<string, Uint8Array>>) =>
  openCheckpoint(memoryFolder("model", new Map(Object.entries(files))));

describe("a checkpoint's files", () => {
  it("one file, with what lies beside it", async () => {
    const found = await open({
      "config.json": text({ model_type: "any" }),
      "model.safetensors": await safetensors({ b: numbers(1, 2), a: numbers(3) }),
      "tokenizer.json": text("{}"),
    });
    expect(found.config).toEqual({ model_type: "any" });
    expect([...found.tensors.keys()]).toEqual(["a", "b"]);
    expect(found.shardOf.get("b")).toBe("model.safetensors");
    expect(found.metadata.get("format")).toBe("pt");
    expect([...found.files.keys()]).toEqual(["tokenizer.json"]);
  });

  it("numbers of the config keep their fraction, which strict readers tell from whole ones", async () => {
    const written = `{
  "model_type": "any",
  "cap": 30.0,
  "many": [1.0, 2, 1.5],
  "count": 30,
  "small": 1e-05,
  "large": 1E+3,
  "inner": {
    "rope_theta": 10000.0
  },
  "quoted \\"cap\\": 4.0": "a"
}`;
    const { config, fractions } = await open({
      "config.json": new TextEncoder().encode(written),
      "model.safetensors": await safetensors({ a: numbers(3) }),
    });
    const again = jsonText({ ...config, count: 12, inner: { rope_theta: 5000 } }, fractions ?? expect.fail());
    expect(JSON.parse(again)).toEqual({ ...JSON.parse(written), count: 12, inner: { rope_theta: 5000 } });
    const numbersOf = (name: string): unknown =>
      new RegExp(`"${name}": (\\[[^\\]]*\\]|[^,\\n]*)`).exec(again)?.[1]?.replaceAll(/\s/g, "");
    expect(["cap", "many", "count", "small", "large", "rope_theta"].map(numbersOf)).toEqual([
      "30.0",
      "[1.0,2.0,1.5]",
      "12",
      "0.00001",
      "1000.0",
      "5000.0",
    ]);
  });

  it("shards that an index names", async () => {
    const found = await open(await sharded());
    expect([...found.tensors.keys()].sort()).toEqual(["a", "b"]);
    expect(toFloat32(await load(found.tensors.get("b") ?? expect.fail()))).toEqual(Float32Array.of(4));
    expect(found.shardOf.get("b")).toBe("two.safetensors");
  });

  it("non-zeros with bitmasks, as dense tensors", async () => {
    const weight = {
      "x.weight.compressed": numbers(1, 2, 3, 4),
      "x.weight.bitmask": refOf(tensor("u8", [2, 2], Uint8Array.of(0b10000010, 0b1, 0b1, 0b0))),
      "x.weight.shape": refOf(fromInts("i64", [2], [2, 9])),
      "x.weight.row_offsets": refOf(fromInts("i64", [2], [0, 3])),
    };
    const sparse = {
      sparsity_config: { format: "sparse-bitmask" },
      quantization_config: { sparsity_config: {} },
      a: 1,
    };
    const files = { "config.json": text(sparse), "model.safetensors": await safetensors({ ...weight, y: numbers(5) }) };
    const found = await open(files);
    expect([...found.tensors.keys()].sort()).toEqual(["x.weight", "y"]);
    expect(found.config).toEqual({ a: 1 });
    const ref = found.tensors.get("x.weight") ?? expect.fail();
    expect(ref.shape).toEqual([2, 9]);
    expect([...toFloat32(await load(ref))]).toEqual([0, 1, 0, 0, 0, 0, 0, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
    const lacking = { ...weight, "x.weight.compressed": numbers(1, 2, 3) };
    const short = await open({ ...files, "model.safetensors": await safetensors(lacking) });
    await expect(load(short.tensors.get("x.weight") ?? expect.fail())).rejects.toThrow(
      "as the bitmask has ones, 4, got 3",
    );
  });
});

describe("float8 with a factor for each block", () => {
  const open8 = async (dtype: "f8e4m3fn" | "f8e5m2", codes: Uint8Array, shape: number[], factors: TensorRef) =>
    open({
      "config.json": text({ quantization_config: { quant_method: "fp8", weight_block_size: [2, 2] } }),
      "model.safetensors": await safetensors({
        "x.weight": refOf(tensor(dtype, shape, codes)),
        "x.weight_scale_inv": factors,
      }),
    });

  it.each([
    // 0, smallest and largest subnormal, smallest normal, 1, -1.125, largest, not a number.
    ["f8e4m3fn", [0, 1, 7, 8, 0x38, 0xb9, 0x7e, 0x7f], [0, 2 ** -9, 7 * 2 ** -9, 2 ** -6, 1, -1.125, 448, Number.NaN]],
    [
      "f8e5m2",
      [0, 1, 3, 4, 0x3c, 0xbd, 0x7b, 0x7c],
      [0, 2 ** -16, 3 * 2 ** -16, 2 ** -14, 1, -1.25, 57_344, Number.POSITIVE_INFINITY],
    ],
  ] as const)("%s", async (dtype, codes, values) => {
    const ones = refOf(float32Tensor([1, 4], Float32Array.of(1, 1, 1, 1)));
    const { tensors, config } = await open8(dtype, Uint8Array.from(codes), [1, 8], ones);
    expect(config).toEqual({});
    expect([...tensors.keys()]).toEqual(["x.weight"]);
    expect([...toFloat32(await load(tensors.get("x.weight") ?? expect.fail()))]).toEqual(values);
  });

  it("blocks at the edges are smaller", async () => {
    const factors = refOf(float32Tensor([2, 2], Float32Array.of(1, 2, 4, 8)));
    const { tensors } = await open8("f8e4m3fn", new Uint8Array(9).fill(0x38), [3, 3], factors);
    expect([...toFloat32(await load(tensors.get("x.weight") ?? expect.fail()))]).toEqual([1, 1, 2, 1, 1, 2, 4, 4, 8]);
    const fewer = refOf(float32Tensor([1, 2], Float32Array.of(1, 2)));
    await expect(open8("f8e4m3fn", new Uint8Array(9), [3, 3], fewer)).rejects.toThrow("with factors [2, 2] for [3, 3]");
  });
});

async function sharded(): Promise<Record<string, Uint8Array>> {
  return {
    "config.json": text({ model_type: "any" }),
    "model.safetensors.index.json": text({ weight_map: { a: "one.safetensors", b: "two.safetensors" } }),
    "one.safetensors": await safetensors({ a: numbers(1, 2, 3) }),
    "two.safetensors": await safetensors({ b: numbers(4) }),
  };
}

describe("files that contradict each other", () => {
  const without = (files: Record<string, Uint8Array>, name: string): Record<string, Uint8Array> =>
    Object.fromEntries(Object.entries(files).filter(([file]) => file !== name));

  it.each<[string, (files: Record<string, Uint8Array>) => Promise<Record<string, Uint8Array>>, string]>([
    ["no config", async (f) => without(f, "config.json"), "expected a file config.json, got none"],
    ["a config that is a list", async (f) => ({ ...f, "config.json": text([]) }), "expected a JSON object"],
    ["a config that is cut", async (f) => ({ ...f, "config.json": text('{"a":') }), "expected a JSON object"],
    ["no weights", async () => ({ "config.json": text({}) }), "got neither"],
    [
      "a pickle",
      async () => ({ "config.json": text({}), "pytorch_model.bin": text("") }),
      '"pytorch_model.bin" is a pickle',
    ],
    [
      "a missing shard",
      async (f) => without(f, "two.safetensors"),
      'expected the shard "two.safetensors", got none. It holds b.',
    ],
    [
      "a tensor that the index does not name",
      async (f) => ({ ...f, "two.safetensors": await safetensors({ b: numbers(4), c: numbers(5) }) }),
      'got "c", but the index does not name it',
    ],
    [
      "a tensor twice",
      async (f) => ({ ...f, "two.safetensors": await safetensors({ b: numbers(4), a: numbers(5) }) }),
      'got "a", but the index places it in "one.safetensors"',
    ],
    [
      "a tensor that no shard has",
      async (f) => ({ ...f, "two.safetensors": await safetensors({}) }),
      'expected the tensor "b" that model.safetensors.index.json promises, got none',
    ],
    [
      "a shard outside the folder",
      async (f) => ({ ...f, "model.safetensors.index.json": text({ weight_map: { a: "../one.safetensors" } }) }),
      'expected the shard "../one.safetensors", got none',
    ],
    [
      "an index without a map",
      async (f) => ({ ...f, "model.safetensors.index.json": text({ weights: {} }) }),
      'expected a "weight_map"',
    ],
    [
      "a shard that is cut",
      async (f) => ({ ...f, "one.safetensors": (f["one.safetensors"] ?? text("")).slice(0, -1) }),
      "expected the file to end at",
    ],
  ])("%s", async (_, change, message) => {
    const failed = open(await change(await sharded()));
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toBeInstanceOf(EspalierError);
  });
});
