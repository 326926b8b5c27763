import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../../data/from-tensors.ts";
import { int, ints } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { analyse } from "../../models/analysis.ts";
import { evaluate } from "../../runtime/evaluate.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import type { InputMoments } from "./moments.ts";
import { collect } from "./taps.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

function noise(seed: number, length: number): Float32Array {
  const values = new Float32Array(length);
  random(seed, "taps").fillNormal(values);
  return values;
}

interface Window {
  readonly channels: number;
  readonly out: number;
  readonly group: number;
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  /** top, left, bottom, right */
  readonly pads: readonly [number, number, number, number];
  readonly opset: number;
}

const plain: Window = {
  channels: 4,
  out: 4,
  group: 1,
  kernel: [3, 3],
  stride: [1, 1],
  dilation: [1, 1],
  pads: [1, 1, 1, 1],
  opset: 17,
};
const size = 7;

/** x → Relu → Conv, so that the tapped value is an inner one. */
function convGraph(w: Window): Graph {
  const g = builder("conv", w.opset);
  g.input("x", "f32", ["n", w.channels, size, size]);
  const shape = [w.out, w.channels / w.group, ...w.kernel];
  const weight = g.constant(
    float32Tensor(
      shape,
      noise(
        2,
        shape.reduce((a, b) => a * b, 1),
      ),
    ),
    "w",
  );
  const attributes = {
    group: int(w.group),
    strides: ints(w.stride),
    dilations: ints(w.dilation),
    pads: ints(w.pads),
    kernel_shape: ints(w.kernel),
  };
  g.output(g.op("Conv", [g.op("Relu", ["x"], {}, "h"), weight], attributes, "y"), "f32", ["n", null, null, null]);
  return g.finish();
}

/** im2col by the definition: columns [channels, kh, kw] at every output position of every sample. */
function unfoldByHand(h: Float32Array, samples: number, w: Window): number[][] {
  const [kh, kw] = w.kernel;
  const extent = (i: 0 | 1) =>
    Math.floor((size + w.pads[i] + w.pads[i + 2 === 2 ? 2 : 3] - w.dilation[i] * (w.kernel[i] - 1) - 1) / w.stride[i]) +
    1;
  const out: number[][] = [];
  for (let n = 0; n < samples; n++) {
    for (let y = 0; y < extent(0); y++) {
      for (let x = 0; x < extent(1); x++) {
        const column: number[] = [];
        for (let c = 0; c < w.channels; c++) {
          for (let i = 0; i < kh; i++) {
            for (let j = 0; j < kw; j++) {
              const row = y * w.stride[0] + i * w.dilation[0] - w.pads[0];
              const col = x * w.stride[1] + j * w.dilation[1] - w.pads[1];
              const inside = row >= 0 && row < size && col >= 0 && col < size;
              column.push(inside ? (h[((n * w.channels + c) * size + row) * size + col] ?? 0) : 0);
            }
          }
        }
        out.push(column);
      }
    }
  }
  return out;
}

/** Largest difference of taps and definition, relative to the largest number. */
function farthest(moments: InputMoments, columns: readonly number[][], groups: number): number {
  const per = moments.columns;
  let top = 0;
  let far = 0;
  for (let g = 0; g < groups; g++) {
    for (let a = 0; a < per; a++) {
      for (let b = 0; b < per; b++) {
        let sum = 0;
        for (const column of columns) sum += (column[g * per + a] ?? 0) * (column[g * per + b] ?? 0);
        top = Math.max(top, Math.abs(sum));
        far = Math.max(far, Math.abs(sum - (moments.gram[g]?.[a * per + b] ?? 0)));
      }
    }
  }
  return far / top;
}

describe("taps of convolutions equal im2col by hand", () => {
  const cases: [string, Window][] = [
    ["plain", plain],
    ["strided", { ...plain, stride: [2, 1] }],
    ["padded on two sides", { ...plain, pads: [2, 0, 0, 1] }],
    ["dilated", { ...plain, dilation: [2, 1] }],
    ["grouped", { ...plain, group: 2 }],
    ["depthwise", { ...plain, group: 4 }],
    ["flat kernel", { ...plain, kernel: [1, 3], pads: [0, 1, 0, 1] }],
    ["pointwise", { ...plain, kernel: [1, 1], pads: [0, 0, 0, 0] }],
    ["pointwise and strided", { ...plain, kernel: [1, 1], pads: [0, 0, 0, 0], stride: [2, 2] }],
    ["an old operator set", { ...plain, opset: 11 }],
    ["everything at once", { ...plain, group: 2, stride: [2, 3], dilation: [1, 2], pads: [1, 2, 0, 3] }],
  ];
  it.each(cases)("%s", async (_, w) => {
    const analysis = await analyse(convGraph(w), runtime);
    const x = noise(1, 5 * w.channels * size * size);
    const data = fromTensors({ x: float32Tensor([5, w.channels, size, size], x) });
    const measured = await collect(runtime, analysis, analysis.matrices, ["gram", "moments", "inputMean"], data, {
      batchSize: 2,
    });
    const [found] = measured.values();
    const feeds = new Map([["x", float32Tensor([5, w.channels, size, size], x)]]);
    const h = toFloat32(
      (await evaluate(runtime, analysis.graph, ["h"], feeds)).get("h") ?? float32Tensor([0], new Float32Array(0)),
    );
    const columns = unfoldByHand(h, 5, w);
    const moments = found?.moments;
    expect(moments?.count).toBe(columns.length);
    if (moments === undefined) return;
    expect(farthest(moments, columns, w.group)).toBeLessThan(1e-6);
    for (const [c, sum] of moments.sum.entries()) {
      expect(sum).toBeCloseTo(
        columns.reduce((total, column) => total + (column[c] ?? 0), 0),
        3,
      );
    }
    // The mean of a feature is over its own positions, whatever the window does.
    const first = h.filter((_, i) => Math.floor(i / (size * size)) % w.channels === 0);
    expect(found?.inputMean?.[0]).toBeCloseTo(first.reduce((a, b) => a + b, 0) / first.length, 5);
  });

  it("would notice a pad on the wrong side", async () => {
    const analysis = await analyse(convGraph({ ...plain, pads: [2, 0, 0, 1] }), runtime);
    const x = noise(1, 5 * 4 * size * size);
    const data = fromTensors({ x: float32Tensor([5, 4, size, size], x) });
    const [found] = (await collect(runtime, analysis, analysis.matrices, ["moments"], data, { batchSize: 5 })).values();
    const wrong = unfoldByHand(
      x.map((n) => Math.max(0, n)),
      5,
      { ...plain, pads: [0, 1, 2, 0] },
    );
    if (found?.moments === undefined) throw new Error("no moments");
    expect(farthest(found.moments, wrong, 1)).toBeGreaterThan(1e-3);
  });
});

describe("taps of matrix products", () => {
  it("sees every token of a product with the weight on the right", async () => {
    const g = builder("tokens", 17);
    g.input("x", "f32", ["n", 3, 5]);
    g.output(g.op("MatMul", ["x", g.constant(float32Tensor([5, 2], noise(3, 10)), "w")], {}, "y"), "f32", ["n", 3, 2]);
    const analysis = await analyse(g.finish(), runtime);
    const x = noise(4, 7 * 3 * 5);
    const data = fromTensors({ x: float32Tensor([7, 3, 5], x) });
    const needs = ["gram", "moments", "inputMeanSquare", "columnMean"] as const;
    const [found] = (await collect(runtime, analysis, analysis.matrices, needs, data, { batchSize: 3 })).values();
    const rows = Array.from({ length: 21 }, (_, i) => [...x.subarray(i * 5, i * 5 + 5)]);
    expect(found?.moments?.count).toBe(21);
    for (let a = 0; a < 5; a++) {
      const mean = rows.reduce((sum, row) => sum + (row[a] ?? 0), 0) / 21;
      expect(found?.columnMean?.[a]).toBeCloseTo(mean, 5);
      for (let b = 0; b < 5; b++) {
        const expected = rows.reduce((sum, row) => sum + (row[a] ?? 0) * (row[b] ?? 0), 0) / 21;
        expect(found?.gram?.[0]?.[a * 5 + b]).toBeCloseTo(expected, 5);
      }
      const square = rows.reduce((sum, row) => sum + (row[a] ?? 0) ** 2, 0) / 21;
      expect(found?.inputMeanSquare?.[a]).toBeCloseTo(square, 5);
    }
  });

  it("stops when asked to", async () => {
    const analysis = await analyse(convGraph(plain), runtime);
    const data = fromTensors({ x: float32Tensor([5, 4, size, size], noise(1, 5 * 4 * size * size)) });
    const stop = new AbortController();
    stop.abort();
    await expect(
      collect(runtime, analysis, analysis.matrices, ["gram"], data, { batchSize: 2, signal: stop.signal }),
    ).rejects.toThrow(/abort/i);
  });
});
