import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { float32Tensor, fromFloats, fromInts, toFloat32, toFloat64 } from "../tensor/numeric.ts";
import { type HostTensor, sizeOf, tensor } from "../tensor/tensor.ts";
import { bind, type InputType } from "./bind.ts";
import { normalise, withLayout } from "./changes/normalise.ts";
import type { IndexedDataset } from "./dataset.ts";
import { fromTensors } from "./from-tensors.ts";
import { randomInputs } from "./random-inputs.ts";
import { resident } from "./resident.ts";
import { concatenated, renamed, sample, shuffled, skip, take } from "./subset.ts";

/** Sample i is [i, i + 0.5], of class i. */
function numbered(count: number, first = 0): IndexedDataset {
  const values = Float32Array.from({ length: 2 * count }, (_, i) => first + i / 2);
  const labels = Array.from({ length: count }, (_, i) => first + i);
  return fromTensors({ x: float32Tensor([count, 2], values) }, labels);
}

/** All samples in order, checking that inputs and labels stay together. */
async function walk(dataset: IndexedDataset, size: number): Promise<number[]> {
  const seen: number[] = [];
  for await (const batch of dataset.batches(size)) {
    const x = batch.inputs.get("x");
    expect(x?.shape).toEqual([batch.count, 2]);
    const values = toFloat32(x ?? tensor("f32", [0, 2]));
    expect([...(batch.labels ?? [])]).toEqual([...values].filter((_, i) => i % 2 === 0));
    seen.push(...(batch.labels ?? []));
  }
  return seen;
}

const ramp = (n: number, first = 0) => Array.from({ length: n }, (_, i) => first + i);

async function only(dataset: IndexedDataset, size = dataset.count): Promise<HostTensor> {
  for await (const batch of dataset.batches(size)) {
    for (const input of batch.inputs.values()) return input;
  }
  return tensor("f32", [0]);
}

describe("subsets", () => {
  test("every batch size walks the same samples", async () => {
    for (const size of [1, 3, 7, 100]) expect(await walk(numbered(7), size)).toEqual(ramp(7));
  });

  test("take gives the first ones, concatenation all, across the seams", async () => {
    const both = concatenated([numbered(3), numbered(1, 3), numbered(4, 4)]);
    expect(await walk(both, 5)).toEqual(ramp(8));
    expect(await walk(take(both, 5), 2)).toEqual(ramp(5));
    expect((await both.gather(Int32Array.of(7, 0, 3, 2))).labels).toEqual(Int32Array.of(7, 0, 3, 2));
  });

  test("skip leaves out what take gives", async () => {
    expect(await walk(skip(numbered(7), 3), 2)).toEqual([3, 4, 5, 6]);
    expect(() => skip(numbered(7), 7)).toThrow("expected at least one sample");
  });

  test("what is read into memory stays the same, and its source is read once", async () => {
    let reads = 0;
    const source = numbered(9);
    const counted: IndexedDataset = {
      ...source,
      gather: (positions) => {
        reads++;
        return source.gather(positions);
      },
    };
    const held = await resident(counted);
    expect(await walk(held, 4)).toEqual(ramp(9));
    expect((await held.gather(Int32Array.of(8, 0, 5))).labels).toEqual(Int32Array.of(8, 0, 5));
    expect([reads, held.description, held.labelled]).toEqual([1, source.description, true]);
  });

  test("shuffles are permutations that only the seed decides", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 60 }), fc.nat(), async (n, seed) => {
        const one = await walk(shuffled(numbered(n), seed), 7);
        expect(one).toEqual(await walk(shuffled(numbered(n), seed), 4));
        expect([...one].sort((a, b) => a - b)).toEqual(ramp(n));
      }),
      { numRuns: 40 },
    );
    expect(await walk(shuffled(numbered(50), 1), 50)).not.toEqual(await walk(shuffled(numbered(50), 2), 50));
  });

  test("a drawn subset has no sample twice, and a smaller one lies inside a larger one", async () => {
    const ten = await walk(sample(numbered(100), 10, 5), 3);
    expect(new Set(ten).size).toBe(10);
    expect((await walk(sample(numbered(100), 30, 5), 30)).slice(0, 10)).toEqual(ten);
    expect(await walk(sample(numbered(4), 9, 5), 4)).toHaveLength(4);
  });

  test("planted fault: an order that repeats a sample is no permutation", async () => {
    const data = numbered(5);
    const faulty: IndexedDataset = { ...data, gather: (at) => data.gather(at.map((i) => Math.min(i, 3))) };
    const seen = await walk(shuffled(faulty, 1), 5);
    expect([...seen].sort((a, b) => a - b)).not.toEqual(ramp(5));
  });

  test.each([0, -1, 1.5, Number.NaN])("%s samples or per batch is refused", async (n) => {
    expect(() => take(numbered(3), n)).toThrow(/whole number from 1/);
    await expect(walk(numbered(3), n)).rejects.toThrow(/whole number from 1/);
  });

  test("positions outside, other shapes, other names are refused", () => {
    expect(() => numbered(3).gather(Int32Array.of(3))).toThrow(/positions below 3/);
    expect(() => concatenated([numbered(3), renamed(numbered(3), new Map([["x", "z"]]))])).toThrow(
      /expected samples x f32/,
    );
    expect(() => renamed(numbered(3), new Map([["a", "b"]]))).toThrow(/expected one of x/);
    expect(() => fromTensors({ x: tensor("f32", [2, 1]) }, [0])).toThrow(/one label for each of 2/);
    expect(() => fromTensors({ x: tensor("f32", [2, 1]) }, [0, -1])).toThrow(/class numbers from 0, got -1/);
  });
});

describe("normalise", () => {
  const pixels = Uint8Array.from({ length: 2 * 3 * 4 }, (_, i) => (i * 53) % 256);
  const mean = [0.485, 0.456, 0.406];
  const std = [0.229, 0.224, 0.225];

  test.each(["u8", "f32", "f16"] as const)(
    "%s: each channel by its own mean and deviation, in both layouts",
    async (dtype) => {
      const as = (shape: readonly number[]) =>
        dtype === "u8" ? tensor("u8", shape, pixels) : fromFloats(dtype, shape, Float32Array.from(pixels));
      const first = await only(normalise(fromTensors({ x: as([2, 3, 2, 2]) }), { scale: 1 / 255, mean, std }));
      const last = await only(
        normalise(fromTensors({ x: as([2, 2, 2, 3]) }), { scale: 1 / 255, mean, std, layout: "nhwc" }),
      );
      const expected = (channel: (i: number) => number) =>
        Float32Array.from(pixels, (v, i) => (v * (1 / 255) - (mean[channel(i)] ?? 0)) / (std[channel(i)] ?? 1));
      expect(toFloat32(first)).toEqual(expected((i) => Math.floor(i / 4) % 3));
      expect(toFloat32(last)).toEqual(expected((i) => i % 3));
    },
  );

  test("one mean for all, on samples of any shape", async () => {
    const x = tensor("u8", [3, 2], Uint8Array.of(0, 1, 2, 3, 4, 5));
    expect(toFloat32(await only(normalise(fromTensors({ x }), { mean: [1], std: [2] })))).toEqual(
      Float32Array.of(-0.5, 0, 0.5, 1, 1.5, 2),
    );
  });

  test("the source is not changed", async () => {
    const values = Float32Array.of(1, 2);
    await only(normalise(fromTensors({ x: float32Tensor([2, 1], values) }), { scale: 3 }));
    expect(values).toEqual(Float32Array.of(1, 2));
  });

  test("what does not fit is refused", () => {
    const data = fromTensors({ x: tensor("u8", [2, 3, 2, 2], pixels) });
    expect(() => normalise(data, { mean: [1, 2] })).toThrow(/mean: expected 1 or 3 numbers/);
    expect(() => normalise(data, { std: [0] })).toThrow(/not 0/);
    expect(() => normalise(data, { mean: [Number.NaN] })).toThrow(/finite/);
  });

  test.each(["u8", "f16", "f32", "f64"] as const)("%s: layouts are transposed, there and back", async (dtype) => {
    const shape = [2, 3, 2, 2];
    const x = dtype === "u8" ? tensor("u8", shape, pixels) : fromFloats(dtype, shape, Float32Array.from(pixels));
    const there = withLayout(fromTensors({ x }), "nchw", "nhwc");
    expect(there.features.get("x")?.shape).toEqual([2, 2, 3]);
    const moved = toFloat32(await only(there));
    for (let n = 0; n < 2; n++)
      for (let c = 0; c < 3; c++)
        for (let p = 0; p < 4; p++) expect(moved[n * 12 + p * 3 + c]).toBe(pixels[n * 12 + c * 4 + p]);
    expect((await only(withLayout(there, "nhwc", "nchw"))).bytes).toEqual(x.bytes);
  });
});

describe("bind", () => {
  test("an input without axes takes the number that all samples share, and refuses different ones", async () => {
    const inputs: readonly InputType[] = [
      { name: "x", dtype: "f32", dims: ["n", 2] },
      { name: "t", dtype: "f32", dims: [] },
    ];
    const x = float32Tensor([3, 2], Float32Array.from(ramp(6)));
    const same = fromTensors({ x, t: float32Tensor([3, 1], Float32Array.of(0.5, 0.5, 0.5)) });
    const { inputs: fed } = await bind(same, inputs).gather(Int32Array.of(0, 2));
    expect(fed.get("t")?.shape).toEqual([]);
    expect([...toFloat32(fed.get("t") ?? tensor("f32", [0]))]).toEqual([0.5]);
    const single = bind(fromTensors({ x, t: float32Tensor([], Float32Array.of(0.5)) }), inputs);
    for (const each of [single, await resident(single)]) {
      const batch = await each.gather(Int32Array.of(0, 2));
      expect(batch.inputs.get("t")).toEqual(fed.get("t"));
      expect(batch.inputs.get("x")?.shape).toEqual([2, 2]);
    }
    const differ = fromTensors({ x, t: float32Tensor([3], Float32Array.of(0.5, 0.5, 0.25)) });
    await expect(bind(differ, inputs).gather(Int32Array.of(0, 1))).resolves.toBeDefined();
    await expect(bind(differ, inputs).gather(Int32Array.of(0, 2))).rejects.toThrow("the same number in all samples");
    const wide = fromTensors({ x, t: float32Tensor([3, 2], new Float32Array(6)) });
    expect(() => bind(wide, inputs)).toThrow("once for each sample");
  });

  const input = (dtype: InputType["dtype"], ...dims: (number | string | null)[]): InputType => ({
    name: "input",
    dtype,
    dims,
  });
  const x = float32Tensor(
    [4, 1, 2, 2],
    Float32Array.from({ length: 16 }, (_, i) => i),
  );

  test("a single tensor feeds a single input under its name", async () => {
    const bound = bind(fromTensors({ anything: x }), [input("f32", "batch", 1, 2, 2)]);
    expect([...bound.features]).toEqual([["input", { dtype: "f32", shape: [1, 2, 2] }]]);
    expect((await bound.gather(Int32Array.of(1))).inputs.get("input")?.shape).toEqual([1, 1, 2, 2]);
  });

  test("axes of size 1 come and go, and a flat input is fed flat", async () => {
    expect((await only(bind(fromTensors({ x }), [input("f32", "n", 2, 2)]))).shape).toEqual([4, 2, 2]);
    expect((await only(bind(fromTensors({ x }), [input("f32", "n", 4)]))).shape).toEqual([4, 4]);
    expect(() => bind(fromTensors({ x }), [input("f32", "n", 4, 1, 1)])).toThrow(/expected shape \[n, 4, 1, 1\]/);
  });

  test("errors say what does not fit and what to do", () => {
    const data = fromTensors({ imput: tensor("f32", [2, 8, 8, 3]), extra: tensor("f32", [2, 1]) });
    expect(() => bind(data, [input("f32", "n", 3, 8, 8)])).toThrowErrorMatchingInlineSnapshot(
      `[EspalierError: input "input": expected data of this name, got imput, extra. Did you mean "imput"?]`,
    );
    const image = fromTensors({ input: tensor("f32", [2, 8, 8, 3]) });
    expect(() => bind(image, [input("f32", "n", 3, 8, 8)])).toThrowErrorMatchingInlineSnapshot(
      `[EspalierError: input "input": expected shape [n, 3, 8, 8], got [2, 8, 8, 3] from tensors in memory. The channels lie on another axis: set the layout.]`,
    );
    expect(() => bind(image, [input("string", "n", 8, 8, 3)])).toThrowErrorMatchingInlineSnapshot(
      `[EspalierError: input "input": expected string, got f32 from tensors in memory.]`,
    );
    expect(() => bind(image, [input(null)])).toThrow(/expected a tensor, got a sequence/);
  });

  test("one symbol is one size", () => {
    const data = fromTensors({ ids: fromInts("i64", [2, 3], new Array(6).fill(1)), mask: tensor("i64", [2, 4]) });
    const inputs: InputType[] = ["ids", "mask"].map((name) => ({ name, dtype: "i64", dims: ["batch", "time"] }));
    expect(() => bind(data, inputs)).toThrow(/expected "time" to be 3 as in "ids", got 4 on axis 1/);
  });

  test("a fixed batch decides the batches, and what is left over is dropped", async () => {
    const bound = bind(numbered(7), [{ name: "x", dtype: "f32", dims: [3, 2] }]);
    expect(bound.count).toBe(6);
    const counts: number[] = [];
    for await (const batch of bound.batches(64)) counts.push(batch.count);
    expect(counts).toEqual([3, 3]);
    expect(() => bind(numbered(2), [{ name: "x", dtype: "f32", dims: [3, 2] }])).toThrow(/at least 3 samples/);
  });

  const sources: readonly [string, HostTensor, InputType["dtype"], readonly number[]][] = [
    ["u8 to f32", tensor("u8", [2], Uint8Array.of(0, 255)), "f32", [0, 255]],
    ["u8 to f16", tensor("u8", [2], Uint8Array.of(0, 255)), "f16", [0, 255]],
    ["f64 to f32", fromFloats("f64", [2], Float64Array.of(0.1, -2)), "f32", [Math.fround(0.1), -2]],
    ["f16 to f32", fromFloats("f16", [2], Float32Array.of(0.5, -2)), "f32", [0.5, -2]],
    ["f32 to bf16", fromFloats("f32", [2], Float32Array.of(1.5, -2)), "bf16", [1.5, -2]],
    ["f64 to i64", fromFloats("f64", [2], Float64Array.of(-3, 2 ** 40)), "i64", [-3, 2 ** 40]],
    ["i64 to i32", fromInts("i64", [2], [-3, 7]), "i32", [-3, 7]],
    ["i64 to u64", fromInts("i64", [2], [3, 2 ** 50]), "u64", [3, 2 ** 50]],
    ["i32 to bool", fromInts("i32", [2], [1, 0]), "bool", [1, 0]],
    ["bool to f32", tensor("bool", [2], Uint8Array.of(1, 0)), "f32", [1, 0]],
  ];
  test.each(sources)("%s keeps the values", async (_, source, dtype, expected) => {
    const read = await only(bind(fromTensors({ a: source }), [{ name: "x", dtype }]));
    expect(read.dtype).toBe(dtype);
    expect([...toFloat64(read)]).toEqual(expected);
  });

  const losses: readonly [string, HostTensor, InputType["dtype"], RegExp][] = [
    [
      "fractions to ids",
      fromFloats("f32", [2], Float32Array.of(1, 0.5)),
      "i64",
      /whole numbers .* got 0.5 in sample 1/,
    ],
    ["ids beyond the type", fromInts("i64", [2], [1, 2 ** 33]), "i32", /got 8589934592 in sample 1/],
    ["negative to unsigned", fromInts("i32", [2], [1, -1]), "u8", /from 0 to 255/],
    ["large to half", fromFloats("f32", [2], Float32Array.of(1, 1e5)), "f16", /up to 65504 for f16/],
    ["ids that floats merge", fromInts("i64", [2], [1, 2 ** 24 + 1]), "f32", /whole numbers up to 16777216/],
  ];
  test.each(losses)("%s: refused, with the sample", async (_, source, dtype, message) => {
    await expect(only(bind(fromTensors({ a: source }), [{ name: "x", dtype }]))).rejects.toThrow(message);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    "%s is found in every float type, with the sample of the source",
    async (bad) => {
      for (const dtype of ["f16", "bf16", "f32", "f64"] as const) {
        const values = fromFloats(dtype, [4, 2], Float64Array.of(0, 1, 2, 3, 4, bad, 6, 7));
        const data = shuffled(fromTensors({ x: values }), 3);
        await expect(only(data), dtype).rejects.toThrow(/got (NaN|Infinity) in sample 2 at element 1/);
      }
    },
  );
});

describe("random inputs", () => {
  test("an input without axes is one number for all samples: a switch that is on, a factor near 1", async () => {
    const inputs: readonly InputType[] = [
      { name: "x", dtype: "f32", dims: ["n", 2] },
      { name: "factor", dtype: "f32", dims: [] },
      { name: "on", dtype: "bool", dims: [] },
    ];
    const factors: number[] = [];
    for await (const { inputs: fed, count } of randomInputs(inputs, { count: 5 }).batches(2)) {
      expect(fed.get("x")?.shape).toEqual([count, 2]);
      expect(fed.get("on")).toMatchObject({ shape: [], bytes: Uint8Array.of(1) });
      const factor = fed.get("factor");
      expect(factor?.shape).toEqual([]);
      factors.push(...(factor === undefined ? [] : toFloat32(factor)));
    }
    expect(factors).toHaveLength(3);
    expect(new Set(factors).size).toBe(1);
    expect(Math.abs((factors[0] ?? 0) - 1)).toBeLessThanOrEqual(0.5);
  });

  const inputs: readonly InputType[] = [
    { name: "image", dtype: "f32", dims: ["n", 3, 4, 4] },
    { name: "half", dtype: "f16", dims: [null, 5] },
    { name: "ids", dtype: "i64", dims: ["n", 6] },
    { name: "flag", dtype: "bool", dims: ["n"] },
  ];

  test("a sample depends on the seed and its position alone", async () => {
    const data = randomInputs(inputs, { count: 10, seed: 4, below: new Map([["ids", 50]]) });
    const all = await data.gather(Int32Array.from(ramp(10)));
    const some = await randomInputs(inputs, { count: 10, seed: 4, below: new Map([["ids", 50]]) }).gather(
      Int32Array.of(7),
    );
    for (const { name, dims } of inputs) {
      const row = sizeOf((dims ?? []).slice(1).map(Number));
      const whole = all.inputs.get(name) ?? tensor("f32", [0]);
      const one = some.inputs.get(name) ?? tensor("f32", [0]);
      expect([...toFloat64(one)], name).toEqual([...toFloat64(whole)].slice(7 * row, 8 * row));
    }
    const other = await randomInputs(inputs, { count: 10, seed: 5 }).gather(Int32Array.of(7));
    expect(other.inputs.get("image")?.bytes).not.toEqual(some.inputs.get("image")?.bytes);
  });

  test("integers stay below their bound and reach it, floats have mean 0 and deviation 1", async () => {
    const data = randomInputs(inputs, { count: 200, below: new Map([["ids", 50]]) });
    const { inputs: drawn } = await data.gather(Int32Array.from(ramp(200)));
    const ids = [...toFloat64(drawn.get("ids") ?? tensor("i64", [0]))];
    expect([Math.min(...ids), Math.max(...ids)]).toEqual([0, 49]);
    const values = [...toFloat32(drawn.get("image") ?? tensor("f32", [0]))];
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(Math.abs(values.reduce((sum, v) => sum + v * v, 0) / values.length - 1)).toBeLessThan(0.05);
  });

  test("unknown sizes are asked for", () => {
    expect(() =>
      randomInputs([{ name: "x", dtype: "f32", dims: ["n", 3, "h", "w"] }]),
    ).toThrowErrorMatchingInlineSnapshot(
      `[EspalierError: input "x": expected fixed sizes on all axes but the first, got [n, 3, h, w]. Fix them, for example with --shape x=1x3x224x224.]`,
    );
  });
});
