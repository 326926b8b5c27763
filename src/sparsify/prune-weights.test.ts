import { describe, expect, it } from "vitest";
import type { Matrix } from "../coupling/matrices.ts";
import { type Criterion, noStatistics as nothingMeasured, type Statistic } from "../criteria/criterion.ts";
import { wanda } from "../criteria/inputs/wanda.ts";
import { matrixView } from "../criteria/weight-view.ts";
import { geometricMedian } from "../criteria/weights/geometric-median.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { random as noise } from "../criteria/weights/random.ts";
import type { Graph } from "../graph/graph.ts";
import type { FloatType } from "../tensor/dtype.ts";
import { fromFloats, toFloat64 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { smallest } from "../tensor/selection/select.ts";
import { load, refOf, sizeOf, type TensorRef } from "../tensor/tensor.ts";
import { noStatistics, pruneWeights, type WeightSelection } from "./prune-weights.ts";

interface Part {
  readonly name: string;
  readonly shape: readonly number[];
  readonly outputs: readonly number[];
  readonly inputs: readonly number[];
  readonly dtype?: FloatType;
}

const parts: readonly Part[] = [
  { name: "conv", shape: [6, 4, 3, 3], outputs: [0], inputs: [1, 2, 3] },
  { name: "matmul", shape: [8, 5], outputs: [1], inputs: [0] },
  { name: "half", shape: [4, 8], outputs: [0], inputs: [1], dtype: "f16" },
  { name: "turned", shape: [4, 3, 2], outputs: [1], inputs: [0, 2], dtype: "bf16" },
  { name: "double", shape: [3, 4], outputs: [0], inputs: [1], dtype: "f64" },
];

/** Weights with many ties, since those are where counts go wrong. */
function model(list: readonly Part[] = parts): { graph: Graph; matrices: readonly Matrix[] } {
  const constants = new Map<string, TensorRef>();
  const matrices: Matrix[] = [];
  for (const { name, shape, outputs, inputs, dtype = "f32" } of list) {
    const values = new Float32Array(sizeOf(shape));
    random(0, name).fillNormal(values);
    for (let i = 0; i < values.length; i++) values[i] = (Math.round((values[i] ?? 0) * 8) || 1) / 8;
    constants.set(name, refOf(fromFloats(dtype, shape, values)));
    const size = (axes: readonly number[]) => sizeOf(axes.map((axis) => shape[axis] ?? 1));
    const node = { name: `node-${name}`, domain: "", op: "x", inputs: [], outputs: [], attributes: new Map() };
    const sizes = { rows: size(outputs), columns: size(inputs), groups: 1, data: null };
    matrices.push({ node, parameter: name, shape, outputs, inputs, ...sizes });
  }
  const graph = { name: "g", inputs: [], outputs: [], nodes: [], constants, opsets: new Map(), valueInfo: new Map() };
  return { graph, matrices };
}

const base: WeightSelection = { pattern: { kind: "element" }, scope: "tensor", profile: "uniform", sparsity: 0.5 };

/** Values of each parameter in the order that criteria see, before and after. */
async function views(graph: Graph, matrices: readonly Matrix[]): Promise<ReadonlyMap<string, Float64Array>> {
  const found = new Map<string, Float64Array>();
  for (const matrix of matrices) {
    const ref = graph.constants.get(matrix.parameter);
    if (ref !== undefined) found.set(matrix.parameter, Float64Array.from(matrixView(matrix, await load(ref)).values));
  }
  return found;
}

async function run(selection: Partial<WeightSelection>, residentBytes = 2 ** 20, list = parts) {
  const { graph, matrices } = model(list);
  const result = await pruneWeights(graph, matrices, magnitude(2), { ...base, ...selection }, noStatistics, {
    residentBytes,
  });
  return { result, before: await views(graph, matrices), after: await views(result.graph, matrices) };
}

/** What is expected to go, by sorting everything; the oracle of all scopes. */
function goes(values: readonly number[], count: number): ReadonlySet<number> {
  const order = values.map((v, i) => [v * v, i] as const).sort(([a, i], [b, j]) => a - b || i - j);
  return new Set(order.slice(0, count).map(([, i]) => i));
}

function expectRemoved(before: Float64Array, after: Float64Array, removed: ReadonlySet<number>): void {
  for (let i = 0; i < before.length; i++) expect(after[i]).toBe(removed.has(i) ? 0 : before[i]);
}

const half = (n: number) => Math.floor(n * 0.5 + 0.5);

describe.each([
  ["in memory", 2 ** 20],
  ["made when read", 0],
])("%s", (_, residentBytes) => {
  it("a tensor loses exactly its smallest", async () => {
    const { result, before, after } = await run({}, residentBytes);
    for (const [name, values] of before) {
      expectRemoved(values, after.get(name) ?? new Float64Array(0), goes([...values], half(values.length)));
      expect(result.layers.find((layer) => layer.name === name)).toEqual({
        name,
        before: values.length,
        after: values.length - half(values.length),
      });
    }
  });

  it("a row loses exactly its smallest", async () => {
    const { result, before, after } = await run({ scope: "row", sparsity: 0.4 }, residentBytes);
    const columns: Record<string, number> = { conv: 36, matmul: 8, half: 8, turned: 8, double: 4 };
    for (const [name, values] of before) {
      const width = columns[name] ?? 1;
      const count = Math.floor(width * 0.4 + 0.5);
      for (let at = 0; at < values.length; at += width) {
        const row = values.subarray(at, at + width);
        expectRemoved(row, after.get(name)?.subarray(at, at + width) ?? row, goes([...row], count));
      }
      const rows = values.length / width;
      expect(result.layers.find((layer) => layer.name === name)?.after).toBe(values.length - rows * count);
    }
  });

  it("the model loses exactly its smallest under a global scope", async () => {
    for (const sparsity of [0, 0.3, 0.5, 0.9, 1]) {
      const { result, before, after } = await run({ scope: "global", sparsity }, residentBytes);
      const all = [...before.values()].flatMap((values) => [...values]);
      const now = [...after.values()].flatMap((values) => [...values]);
      const count = Math.floor(all.length * sparsity + 0.5);
      expectRemoved(Float64Array.from(all), Float64Array.from(now), goes(all, count));
      expect(result.layers.reduce((sum, layer) => sum + layer.before - layer.after, 0)).toBe(count);
    }
  });

  it("a floor protects the largest of each parameter and the total stays exact", async () => {
    const floor = 0.02;
    const { result, before } = await run({ scope: "global", sparsity: 0.85, floor }, residentBytes);
    const total = [...before.values()].reduce((sum, values) => sum + values.length, 0);
    const least = Math.floor(total * floor);
    for (const { after, before: size } of result.layers) expect(after).toBeGreaterThanOrEqual(Math.min(size, least));
    expect(result.layers.reduce((sum, layer) => sum + layer.before - layer.after, 0)).toBe(Math.round(total * 0.85));
    const free = await run({ scope: "global", sparsity: 0.85 }, residentBytes);
    expect(free.result.layers).not.toEqual(result.layers);
  });

  it("LAMP gives each layer what one threshold on its scores gives", async () => {
    const { result, before } = await run({ profile: "lamp", sparsity: 0.7 }, residentBytes);
    const scores: number[] = [];
    const owner: string[] = [];
    for (const [name, values] of before)
      for (const w of [...values].map((v) => v * v).sort((a, b) => a - b)) {
        scores.push(w / values.reduce((sum, v) => sum + (v * v >= w ? v * v : 0), 0));
        owner.push(name);
      }
    const removed = smallest(Float64Array.from(scores), Math.floor(scores.length * 0.7 + 0.5));
    for (const { name, before: size, after } of result.layers)
      expect(size - after).toBe(removed.reduce((sum, bit, i) => sum + (owner[i] === name ? bit : 0), 0));
  });

  it("blocks go whole, and are counted by their weights", async () => {
    const pattern = { kind: "block", rows: 2, columns: 2 } as const;
    const { result, after } = await run({ pattern, sparsity: 0.5 }, residentBytes);
    const conv = after.get("conv") ?? new Float64Array(0);
    for (let r = 0; r < 6; r += 2)
      for (let f = 0; f < 4; f += 2)
        for (let p = 0; p < 9; p++) {
          const zeros = [0, 1].flatMap((dr) => [0, 1].map((df) => conv[(r + dr) * 36 + (f + df) * 9 + p] === 0));
          expect(new Set(zeros).size).toBe(1);
        }
    for (const { name, after: kept } of result.layers)
      expect(after.get(name)?.reduce((sum, v) => sum + +(v !== 0), 0)).toBe(kept);
  });
});

it("2:4 keeps two of four along the input axis in every layout", async () => {
  const { result, before, after } = await run({ pattern: { kind: "n:m", keep: 2, of: 4 } });
  const inner: Record<string, number> = { conv: 9, matmul: 1, half: 1, turned: 2, double: 1 };
  expect(result.skipped).toEqual([]);
  for (const [name, values] of before) {
    const step = inner[name] ?? 1;
    const now = after.get(name) ?? values;
    for (let at = 0; at < values.length; at += 4 * step)
      for (let p = 0; p < step; p++) {
        const four = [0, 1, 2, 3].map((i) => values[at + i * step + p] ?? 0);
        const left = Float64Array.from([0, 1, 2, 3], (i) => now[at + i * step + p] ?? 0);
        expectRemoved(Float64Array.from(four), left, goes(four, 2));
      }
  }
});

it("ERK and a table decide how much each layer loses", async () => {
  const { result } = await run({ profile: "erk", sparsity: 0.6, table: new Map([["conv", 0.25]]) });
  const total = result.layers.filter(({ name }) => name !== "conv").reduce((sum, { before }) => sum + before, 0);
  const kept = result.layers.filter(({ name }) => name !== "conv").reduce((sum, { after }) => sum + after, 0);
  expect(result.layers.find(({ name }) => name === "conv")?.after).toBe(216 * 0.75);
  expect(Math.abs(kept - 0.4 * total)).toBeLessThanOrEqual(2);
});

it("nothing to remove changes no byte, and kept sets nest", async () => {
  const { graph, matrices } = model();
  let last: ReadonlyMap<string, Float64Array> | undefined;
  for (const sparsity of [0, 0.25, 0.5, 0.8, 1]) {
    const selection = { ...base, scope: "global" as const, sparsity };
    const result = await pruneWeights(graph, matrices, magnitude(1), selection, noStatistics);
    if (sparsity === 0)
      expect([...result.graph.constants.values()].map((r) => [...(r.resident ?? [])])).toEqual(
        [...graph.constants.values()].map((r) => [...(r.resident ?? [])]),
      );
    const now = await views(result.graph, matrices);
    for (const [name, values] of now)
      for (const [i, value] of values.entries()) if (value !== 0) expect(last?.get(name)?.[i] ?? value).toBe(value);
    last = now;
  }
});

it("parameters larger than a stretch are ranked as one, in memory and made", async () => {
  const big = [{ name: "big", shape: [1030, 1100], outputs: [1], inputs: [0] }];
  for (const residentBytes of [0, 2 ** 30]) {
    const { before, after } = await run({ sparsity: 0.37 }, residentBytes, big);
    const values = before.get("big") ?? new Float64Array(0);
    const removed = smallest(
      values.map((v) => v * v),
      Math.floor(values.length * 0.37 + 0.5),
    );
    const now = after.get("big") ?? values;
    let wrong = 0;
    for (let i = 0; i < values.length; i++) wrong += +(now[i] !== (removed[i] === 1 ? 0 : values[i]));
    expect(wrong).toBe(0);
  }
});

it("ranks exactly where float32 scores and others meet", async () => {
  const { graph, matrices } = model();
  const fine = fromFloats(
    "f32",
    [6, 4, 3, 3],
    Float32Array.from({ length: 216 }, (_, i) => Math.sin(i) / 3),
  );
  for (const place of ["conv", "half"] as const) {
    const constants = new Map(graph.constants);
    if (place === "conv") constants.set("conv", refOf(fine));
    else
      constants.set(
        "half",
        refOf(
          fromFloats(
            "f32",
            [4, 8],
            Float32Array.from({ length: 32 }, (_, i) => Math.cos(i)),
          ),
        ),
      );
    const mixed = { ...graph, constants };
    const selection = { ...base, scope: "global" as const };
    const result = await pruneWeights(mixed, matrices, magnitude(2), selection, noStatistics);
    const all = [...(await views(mixed, matrices)).values()].flatMap((values) => [...values]);
    const now = [...(await views(result.graph, matrices)).values()].flatMap((values) => [...values]);
    expectRemoved(Float64Array.from(all), Float64Array.from(now), goes(all, half(all.length)));
  }
});

it("noise does not depend on how a parameter is read", async () => {
  const { graph, matrices } = model();
  const masks = await Promise.all(
    [0, 2 ** 20].map(async (residentBytes) => {
      const result = await pruneWeights(graph, matrices, noise(3), base, noStatistics, { residentBytes });
      return views(result.graph, matrices);
    }),
  );
  expect(masks[0]).toEqual(masks[1]);
});

it.each([0, 2 ** 20])(
  "what is left over at the end of rows loses the same share: %d bytes in memory",
  async (residentBytes) => {
    const pattern = { kind: "n:m", keep: 2, of: 4, rest: "shorter" } as const;
    const { graph, matrices } = model([{ name: "odd", shape: [3, 6, 1, 2], outputs: [0], inputs: [1, 2, 3] }]);
    const result = await pruneWeights(graph, matrices, magnitude(1), { ...base, pattern }, noStatistics, {
      residentBytes,
    });
    expect(result.layers).toEqual([{ name: "odd", before: 36, after: 18 }]);
    const [before, after] = [graph, result.graph].map((g) => g.constants.get("odd") ?? expect.fail("no constant"));
    if (before === undefined || after === undefined) return expect.fail("two constants");
    const [was, now] = [toFloat64(await load(before)), toFloat64(await load(after))];
    for (let row = 0; row < 3; row++)
      for (let p = 0; p < 2; p++)
        for (const [group, count] of [
          [[0, 1, 2, 3], 2],
          [[4, 5], 1],
        ] as const) {
          const at = group.map((f) => row * 12 + f * 2 + p);
          const kept = new Set(
            at.toSorted((a, b) => Math.abs(was[b] ?? 0) - Math.abs(was[a] ?? 0) || b - a).slice(0, count),
          );
          for (const i of at) expect(now[i]).toBe(kept.has(i) ? was[i] : 0);
        }
  },
);

it("what cannot be pruned is said, not forced", async () => {
  const { graph, matrices } = model([{ name: "odd", shape: [4, 3, 1, 1], outputs: [0], inputs: [1, 2, 3] }, ...parts]);
  const pattern = { kind: "n:m", keep: 2, of: 4 } as const;
  const result = await pruneWeights(graph, matrices, magnitude(2), { ...base, pattern }, noStatistics);
  expect(result.skipped).toEqual([{ name: "odd", reason: "4 does not divide its 3 inputs" }]);
  expect(result.graph.constants.get("odd")).toBe(graph.constants.get("odd"));
  const { layers, skipped } = await pruneWeights(
    graph,
    matrices,
    magnitude(2),
    { ...base, pattern: { ...pattern, rest: "shorter" } },
    noStatistics,
  );
  expect(skipped).toEqual([{ name: "odd", reason: "it has 3 inputs, fewer than 4" }]);
  expect(layers.length).toBe(result.layers.length);
  const unmeasured = await pruneWeights(graph, matrices, wanda(), base, () => undefined);
  expect(unmeasured.layers).toEqual([]);
  const empty = await pruneWeights(graph, matrices, wanda(), base, () => ({ inputMeanSquare: new Float64Array(0) }));
  for (const { skipped } of [unmeasured, empty]) expect(skipped[0]?.reason).toBe("calibration measured nothing for it");
});

it("wrong wishes are refused", async () => {
  const { graph, matrices } = model();
  const wish = (selection: Partial<WeightSelection>, criterion: Criterion<Statistic> = magnitude(2)) =>
    pruneWeights(graph, matrices, criterion, { ...base, ...selection }, () => nothingMeasured);
  await expect(wish({}, geometricMedian())).rejects.toThrow("fpgm: expected a criterion of single weights");
  await expect(wish({ sparsity: 1.2 })).rejects.toThrow("--sparsity: expected fractions from 0 to 1, got 1.2.");
  await expect(wish({ scope: "row", profile: "lamp" })).rejects.toThrow("Use --scope tensor.");
  await expect(wish({ scope: "global", sparsity: 0.95, floor: 0.05 })).rejects.toThrow(/at most 0\.\d+ is possible/);
});

it("the oracle catches a mask by threshold, which takes all that are equal", () => {
  const values = Float64Array.from([1, 2, 1, 3]);
  const byThreshold = values.map((v) => (v <= 1 ? 0 : v));
  expect(() => expectRemoved(values, byThreshold, goes([...values], 1))).toThrow();
});

it("zeros are exact in every type", async () => {
  const { graph, matrices } = model();
  const result = await pruneWeights(graph, matrices, magnitude(2), { ...base, sparsity: 1 }, noStatistics);
  for (const { name } of result.layers) {
    const ref = result.graph.constants.get(name);
    expect(ref?.resident?.every((byte) => byte === 0)).toBe(true);
    if (ref !== undefined) expect(toFloat64(await load(ref)).every((v) => Object.is(v, 0))).toBe(true);
  }
});
