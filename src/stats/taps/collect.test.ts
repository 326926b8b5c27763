import { afterAll, describe, expect, it } from "vitest";
import type { Matrix } from "../../coupling/matrices.ts";
import { fromTensors } from "../../data/from-tensors.ts";
import { type Attributes, int, ints, string } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Draft } from "../../graph/draft.ts";
import type { Graph } from "../../graph/graph.ts";
import { expose } from "../../graph/subgraph.ts";
import { analyse } from "../../models/analysis.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { type HostTensor, sizeOf } from "../../tensor/tensor.ts";
import { collectStatistics } from "./collect.ts";
import type { Need } from "./tap-matrices.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

const all: readonly Need[] = ["inputMean", "inputMeanSquare", "gram"];

/** Numbers with a mean that is not zero, so that second moments and variances differ. */
function numbers(shape: readonly number[], seed: number): HostTensor {
  const stream = random(seed, "numbers");
  return float32Tensor(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => 2 * stream.uniform() - 0.7),
  );
}

async function statisticsOf(graph: Graph, x: HostTensor, batchSize: number, needs = all) {
  const analysis = await analyse(graph, runtime);
  const data = fromTensors({ x });
  const found = await collectStatistics(runtime, analysis, analysis.matrices, needs, data, { batchSize });
  return { analysis, found };
}

/** Every value of the graph at all samples in one run. */
async function valuesOf(graph: Graph, names: readonly string[], x: HostTensor) {
  const session = await runtime.compile(expose(graph, names));
  try {
    return new Map([...(await session.run(new Map([["x", x]]))), ["x", x] as const]);
  } finally {
    await session.release();
  }
}

interface Columns {
  /** Each row is what the columns of one group multiply at one position. */
  readonly groups: readonly (readonly number[])[][];
}

/** E[x·xᵀ] by its definition. */
function gramOf(rows: readonly (readonly number[])[]): number[] {
  const width = rows[0]?.length ?? 0;
  const sums = new Array<number>(width * width).fill(0);
  for (const row of rows) {
    for (let i = 0; i < width; i++) {
      for (let j = 0; j < width; j++) sums[i * width + j] = (sums[i * width + j] ?? 0) + (row[i] ?? 0) * (row[j] ?? 0);
    }
  }
  return sums.map((n) => n / rows.length);
}

/** Moves the feature axis last: one row for each position. */
function tokens(value: HostTensor, axis: number): number[][] {
  const numbersOf = toFloat32(value);
  const features = value.shape[axis] ?? 1;
  const inner = sizeOf(value.shape.slice(axis + 1));
  const rows: number[][] = [];
  for (let outer = 0; outer < sizeOf(value.shape.slice(0, axis)); outer++) {
    for (let p = 0; p < inner; p++) {
      rows.push(Array.from({ length: features }, (_, f) => numbersOf[(outer * features + f) * inner + p] ?? 0));
    }
  }
  return rows;
}

interface Window {
  readonly kernel: readonly [number, number];
  readonly strides?: readonly [number, number];
  readonly dilations?: readonly [number, number];
  /** Begin and end of each axis, as ONNX orders them: top, left, bottom, right. */
  readonly pads?: readonly [number, number, number, number];
  readonly groups?: number;
}

/** im2col by its definition: columns of a group are [channels of the group, kernel rows, kernel columns]. */
function windowsOf(x: HostTensor, w: Window): Columns {
  const [n = 1, channels = 1, height = 1, width = 1] = x.shape;
  const values = toFloat32(x);
  const { kernel, strides = [1, 1], dilations = [1, 1], pads = [0, 0, 0, 0], groups = 1 } = w;
  const span = (i: 0 | 1) => dilations[i] * (kernel[i] - 1) + 1;
  const high = Math.floor((height + pads[0] + pads[2] - span(0)) / strides[0]) + 1;
  const wide = Math.floor((width + pads[1] + pads[3] - span(1)) / strides[1]) + 1;
  const perGroup = channels / groups;
  const at = (b: number, c: number, i: number, j: number): number =>
    i < 0 || j < 0 || i >= height || j >= width ? 0 : (values[((b * channels + c) * height + i) * width + j] ?? 0);
  return {
    groups: Array.from({ length: groups }, (_, g) => {
      const rows: number[][] = [];
      for (let b = 0; b < n; b++) {
        for (let i = 0; i < high; i++) {
          for (let j = 0; j < wide; j++) {
            const row: number[] = [];
            for (let c = g * perGroup; c < (g + 1) * perGroup; c++) {
              for (let u = 0; u < kernel[0]; u++) {
                for (let v = 0; v < kernel[1]; v++) {
                  row.push(
                    at(b, c, i * strides[0] + u * dilations[0] - pads[0], j * strides[1] + v * dilations[1] - pads[1]),
                  );
                }
              }
            }
            rows.push(row);
          }
        }
      }
      return rows;
    }),
  };
}

/** Largest difference relative to the largest number. */
function distance(found: ArrayLike<number> | undefined, expected: readonly number[]): number {
  if (found?.length !== expected.length) return Number.POSITIVE_INFINITY;
  const scale = expected.reduce((most, n) => Math.max(most, Math.abs(n)), 0);
  return expected.reduce((worst, n, i) => Math.max(worst, Math.abs(n - (found[i] ?? 0))), 0) / scale;
}

const TOLERANCE = 1e-5;

function expectVectors(
  found: { readonly inputMean?: Float64Array; readonly inputMeanSquare?: Float64Array } | undefined,
  rows: readonly (readonly number[])[],
): void {
  const width = rows[0]?.length ?? 0;
  const mean = (of: (n: number) => number): number[] =>
    Array.from({ length: width }, (_, f) => rows.reduce((sum, row) => sum + of(row[f] ?? 0), 0) / rows.length);
  expect(
    distance(
      found?.inputMean,
      mean((n) => n),
    ),
  ).toBeLessThan(TOLERANCE);
  expect(
    distance(
      found?.inputMeanSquare,
      mean((n) => n * n),
    ),
  ).toBeLessThan(TOLERANCE);
}

function convolution(channels: number, out: number, w: Window, attributes: Attributes = {}, opset = 17): Graph {
  const g = builder("convolution", opset);
  g.input("x", "f32", ["n", channels, 9, 8]);
  const weight = g.constant(numbers([out, channels / (w.groups ?? 1), ...w.kernel], 3), "weight");
  g.output(g.op("Conv", ["x", weight], { ...window(w), ...attributes }, "y"), "f32");
  return g.finish();
}

function window({ strides, dilations, pads, groups }: Window): Attributes {
  return {
    ...(strides === undefined ? {} : { strides: ints(strides) }),
    ...(dilations === undefined ? {} : { dilations: ints(dilations) }),
    ...(pads === undefined ? {} : { pads: ints(pads) }),
    ...(groups === undefined ? {} : { group: int(groups) }),
  };
}

function only<T>(found: ReadonlyMap<Matrix, T>): T {
  const [first, ...others] = found.values();
  if (first === undefined || others.length > 0) throw new Error(`expected one matrix, got ${found.size}`);
  return first;
}

const windows: readonly (Window & { readonly name: string })[] = [
  { name: "a pixel", kernel: [1, 1] },
  { name: "a pixel with strides", kernel: [1, 1], strides: [2, 3] },
  { name: "no pads", kernel: [3, 2] },
  { name: "uneven pads", kernel: [3, 3], pads: [1, 0, 2, 1] },
  { name: "strides", kernel: [3, 3], strides: [2, 1], pads: [1, 1, 1, 1] },
  { name: "dilations", kernel: [3, 2], dilations: [2, 3], pads: [2, 1, 2, 1] },
  { name: "groups", kernel: [3, 3], groups: 2, pads: [1, 1, 1, 1] },
  { name: "all at once", kernel: [2, 3], strides: [2, 1], dilations: [1, 2], pads: [0, 2, 1, 1], groups: 2 },
  { name: "depthwise", kernel: [3, 3], groups: 4, pads: [1, 1, 1, 1] },
];

describe("Gram matrices of convolutions", () => {
  const x = numbers([5, 4, 9, 8], 1);

  it.each(windows)("$name: equal im2col", async (w) => {
    const { found } = await statisticsOf(convolution(4, 8, w), x, 2);
    const { groups } = windowsOf(x, w);
    const { gram = [], ...vectors } = only(found);
    expect(gram.length).toBe(groups.length);
    for (const [g, rows] of groups.entries()) expect(distance(gram[g], gramOf(rows))).toBeLessThan(TOLERANCE);
    expectVectors(vectors, tokens(x, 1));
  });

  it("pad as auto_pad says", async () => {
    const kernel = [3, 2] as const;
    const upper = convolution(4, 4, { kernel, strides: [2, 1] }, { auto_pad: string("SAME_UPPER") });
    const lower = convolution(4, 4, { kernel, strides: [2, 1] }, { auto_pad: string("SAME_LOWER") });
    const of = async (graph: Graph) => only((await statisticsOf(graph, x, 3)).found).gram?.[0];
    const expected = (pads: [number, number, number, number]) =>
      gramOf(windowsOf(x, { kernel, strides: [2, 1], pads }).groups[0] ?? []);
    expect(distance(await of(upper), expected([1, 0, 1, 1]))).toBeLessThan(TOLERANCE);
    expect(distance(await of(lower), expected([1, 1, 1, 0]))).toBeLessThan(TOLERANCE);
  });

  it("work with the oldest and the newest operator sets", async () => {
    const w = { kernel: [3, 3], pads: [1, 1, 1, 1] } satisfies Window;
    const expected = gramOf(windowsOf(x, w).groups[0] ?? []);
    for (const opset of [7, 11, 12, 13, 18, 22]) {
      const { found } = await statisticsOf(convolution(4, 4, w, {}, opset), x, 4);
      expect(distance(only(found).gram?.[0], expected), `opset ${opset}`).toBeLessThan(TOLERANCE);
      expectVectors(only(found), tokens(x, 1));
    }
  });

  it("differ where a window is read wrongly: the comparison would notice", async () => {
    const right = { kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] } satisfies Window;
    const gram = only((await statisticsOf(convolution(4, 4, right), x, 2)).found).gram?.[0];
    const wrong: readonly Partial<Window>[] = [
      { strides: [2, 1] },
      { strides: [1, 2] },
      { pads: [0, 0, 0, 0] },
      { pads: [1, 0, 1, 2] },
      { dilations: [1, 2] },
    ];
    for (const change of wrong) {
      expect(distance(gram, gramOf(windowsOf(x, { ...right, ...change }).groups[0] ?? []))).toBeGreaterThan(1e-3);
    }
  });
});

/** x [n, 3, 4] through what reads features on several axes. */
function products(opset = 17): Graph {
  const g = builder("products", opset);
  g.input("x", "f32", ["n", 3, 4]);
  const left = g.op("MatMul", [g.constant(numbers([5, 3], 4), "left"), "x"], {}, "rows");
  const right = g.op("Relu", [g.op("MatMul", [left, g.constant(numbers([4, 6], 5), "right")])], {}, "features");
  const flat = g.op("Flatten", [right], {}, "flat");
  const transposed = { transB: int(1) };
  g.output(g.op("Gemm", [flat, g.constant(numbers([2, 30], 6), "head")], transposed, "y"), "f32");
  return g.finish();
}

describe("statistics of matrix products", () => {
  it.each([1, 3, 7, 64])("equal sums over the exposed activations, in batches of %i", async (batchSize) => {
    const x = numbers([7, 3, 4], 2);
    const graph = products();
    const { analysis, found } = await statisticsOf(graph, x, batchSize);
    const values = await valuesOf(graph, ["rows", "flat"], x);
    expect(analysis.matrices.map(({ parameter }) => parameter)).toEqual(["left", "right", "head"]);
    for (const [name, axis, parameter] of [
      ["x", 1, "left"],
      ["rows", 2, "right"],
      ["flat", 1, "head"],
    ] as const) {
      const matrix = analysis.matrices.find((m) => m.parameter === parameter);
      const statistics = matrix === undefined ? undefined : found.get(matrix);
      const value = values.get(name);
      const rows = value === undefined ? [] : tokens(value, axis);
      expect(distance(statistics?.gram?.[0], gramOf(rows)), parameter).toBeLessThan(TOLERANCE);
      expectVectors(statistics, rows);
    }
  });

  it("do not depend on how samples are batched", async () => {
    const x = numbers([16, 3, 4], 8);
    const grams = async (batchSize: number) =>
      [...(await statisticsOf(products(), x, batchSize)).found.values()].map(({ gram }) => gram?.[0] ?? []);
    const [one, two] = [await grams(16), await grams(5)];
    for (const [i, gram] of one.entries()) expect(distance(two[i], [...gram])).toBeLessThan(TOLERANCE);
  });

  it("are what was asked for, and nothing runs when that is nothing", async () => {
    const x = numbers([2, 3, 4], 2);
    const { found } = await statisticsOf(products(), x, 2, ["inputMean"]);
    for (const statistics of found.values()) expect(statistics.gram).toBeUndefined();
    expect(found.size).toBe(3);
    expect((await statisticsOf(products(), x, 2, [])).found.size).toBe(0);
  });
});

describe("batches", () => {
  it("are smaller where unfolded windows would not fit, and for those only", async () => {
    const g = builder("large", 17);
    g.input("x", "f32", ["n", 16, 256, 256]);
    const open = g.op("Conv", ["x", g.constant(numbers([2, 16, 3, 3], 1), "large")], { strides: ints([8, 8]) });
    const small = g.op("Conv", [open, g.constant(numbers([2, 2, 3, 3], 2), "small")], {}, "y");
    g.output(small, "f32");
    const analysis = await analyse(g.finish(), runtime);
    const data = fromTensors({ x: numbers([1, 16, 256, 256], 3) });
    const sizes: number[] = [];
    const watched = {
      ...data,
      batches: (size: number) => {
        sizes.push(size);
        return data.batches(size);
      },
    };
    const found = await collectStatistics(runtime, analysis, analysis.matrices, all, watched, { batchSize: 64 });
    expect(found.size).toBe(2);
    expect(sizes).toEqual([4, 64]);
  });
});

describe("matrices that multiply the same columns", () => {
  it("are measured once; others are not taken for them", async () => {
    const g: Draft = builder("branches", 17);
    g.input("x", "f32", ["n", 4, 6, 6]);
    const branch = (name: string, w: Window): void => {
      const weight = g.constant(numbers([2, 4 / (w.groups ?? 1), ...w.kernel], 7), name);
      g.output(g.op("Conv", ["x", weight], window(w), `${name}_out`), "f32");
    };
    branch("a", { kernel: [3, 3], pads: [1, 1, 1, 1] });
    branch("b", { kernel: [3, 3], pads: [1, 1, 1, 1] });
    branch("stride", { kernel: [3, 3], pads: [1, 1, 1, 1], strides: [2, 2] });
    branch("grouped", { kernel: [3, 3], pads: [1, 1, 1, 1], groups: 2 });
    branch("wide", { kernel: [1, 9], pads: [0, 4, 0, 4] });
    const { analysis, found } = await statisticsOf(g.finish(), numbers([3, 4, 6, 6], 9), 2);
    const of = (name: string) =>
      found.get(analysis.matrices.find((m) => m.parameter === name) ?? analysis.matrices[0] ?? never());
    expect(found.size).toBe(5);
    expect(of("a")).toBe(of("b"));
    for (const name of ["stride", "grouped", "wide"]) {
      expect(distance(of(name)?.gram?.[0], [...(of("a")?.gram?.[0] ?? [])]), name).toBeGreaterThan(1e-3);
    }
  });

  it("are absent where calibration cannot see what they multiply", async () => {
    const g = builder("recurrent", 17);
    g.input("x", "f32", [3, "n", 4]);
    const input = g.constant(numbers([1, 20, 4], 1), "input");
    const state = g.constant(numbers([1, 20, 5], 2), "state");
    g.op("LSTM", ["x", input, state], { hidden_size: int(5) }, ["y", "last", "cell"]);
    g.output("y", "f32");
    const analysis = await analyse(g.finish(), runtime);
    const x = numbers([3, 2, 4], 3);
    const data = fromTensors({ x });
    const found = await collectStatistics(runtime, analysis, analysis.matrices, ["inputMean"], data, { batchSize: 3 });
    expect([...found.keys()].map(({ parameter }) => parameter)).not.toContain("state");
  });
});

function never(): never {
  throw new Error("expected a matrix");
}
