import { expect, it } from "vitest";
import { random as seeded } from "../tensor/random.ts";
import { tensor } from "../tensor/tensor.ts";
import { reduceElements, type WeightView } from "./criterion.ts";
import { fluctuation } from "./inputs/fluctuation.ts";
import { inputNorm } from "./inputs/input-norm.ts";
import { wanda } from "./inputs/wanda.ts";
import { product } from "./product.ts";
import { criterionNamed } from "./registry.ts";
import { matrixView } from "./weight-view.ts";
import { geometricMedian } from "./weights/geometric-median.ts";
import { magnitude } from "./weights/magnitude.ts";
import { random } from "./weights/random.ts";
import { rowRange } from "./weights/row-range.ts";

const node = { name: "n", domain: "", op: "x", inputs: [], outputs: [], attributes: new Map() };

/** A kernel [rows, features, positions] as criteria see it. */
function kernel(rows: number, features: number, positions: number, values: Float32Array, groups = 1): WeightView {
  const shape = [rows, features, positions];
  const matrix = {
    ...{ node, parameter: "w", shape, outputs: [0], inputs: [1, 2], rows, columns: features * positions, groups },
    data: null,
  };
  return matrixView(matrix, tensor("f32", shape, new Uint8Array(values.buffer)));
}

function normal(length: number, seed = 0): Float32Array {
  const values = new Float32Array(length);
  seeded(seed, "test").fillNormal(values);
  return values;
}

it("magnitude of units is the sum over their weights, by brute force", () => {
  const view = kernel(5, 4, 3, normal(60));
  const at = (r: number, f: number, p: number) => view.values[(r * 4 + f) * 3 + p] ?? 0;
  for (const p of [1, 2] as const) {
    const rows = magnitude(p).features(view, "output", {});
    const inputs = magnitude(p).features(view, "input", {});
    for (let r = 0; r < 5; r++) {
      let sum = 0;
      for (let f = 0; f < 4; f++) for (let k = 0; k < 3; k++) sum += Math.abs(at(r, f, k)) ** p;
      expect(rows?.[r]).toBeCloseTo(sum, 12);
    }
    for (let f = 0; f < 4; f++) {
      let sum = 0;
      for (let r = 0; r < 5; r++) for (let k = 0; k < 3; k++) sum += Math.abs(at(r, f, k)) ** p;
      expect(inputs?.[f]).toBeCloseTo(sum, 12);
    }
  }
});

it.each([
  { name: "of a matrix product", shape: [4, 5], outputs: [1], inputs: [0], lies: true },
  { name: "of a transposed convolution", shape: [4, 5, 3, 2], outputs: [1], inputs: [0, 2, 3], lies: true },
  { name: "in an order that has to be copied", shape: [3, 4, 5], outputs: [2], inputs: [1, 0], lies: false },
])("magnitude reads a parameter $name where it lies", ({ shape, outputs, inputs, lies }) => {
  const columns = inputs.reduce((size, axis) => size * (shape[axis] ?? 1), 1);
  const values = normal(columns * 5);
  const matrix = { node, parameter: "w", shape, outputs, inputs, rows: 5, columns, groups: 1, data: null };
  const view = matrixView(matrix, tensor("f32", shape, new Uint8Array(values.buffer)));
  expect(view.byFeature !== undefined).toBe(lies);
  const copied = kernel(5, 4, columns / 4, view.values);
  for (const side of ["output", "input"] as const) {
    const [found, expected] = [view, copied].map((w) => magnitude(2).features(w, side, {}) ?? []);
    expect(found?.length).toBe(side === "output" ? 5 : 4);
    for (const [i, score] of [...(found ?? [])].entries()) expect(score).toBeCloseTo(expected?.[i] ?? 0, 12);
  }
});

it("reduces by sum, mean and maximum", () => {
  const view = kernel(2, 2, 2, new Float32Array(8));
  const scores = Float64Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
  expect([...reduceElements(view, "output", scores, "sum")]).toEqual([10, 26]);
  expect([...reduceElements(view, "input", scores, "sum")]).toEqual([14, 22]);
  expect([...reduceElements(view, "input", scores, "mean")]).toEqual([3.5, 5.5]);
  expect([...reduceElements(view, "input", scores, "max")]).toEqual([6, 8]);
});

it("FPGM is the sum of distances to all rows, whatever the tile", () => {
  for (const rows of [1, 3, 4, 7, 9]) {
    const view = kernel(rows, 5, 2, normal(rows * 10, rows));
    const scores = geometricMedian().features(view, "output", {});
    for (let i = 0; i < rows; i++) {
      let sum = 0;
      for (let j = 0; j < rows; j++) {
        let square = 0;
        for (let c = 0; c < 10; c++) square += ((view.values[i * 10 + c] ?? 0) - (view.values[j * 10 + c] ?? 0)) ** 2;
        sum += Math.sqrt(square);
      }
      expect(scores?.[i]).toBeCloseTo(sum, 10);
    }
  }
});

it("FPGM puts the filter in the middle last, where magnitude puts the smallest", () => {
  const view = kernel(3, 1, 1, Float32Array.from([1, 5, 10]));
  const scores = geometricMedian().features(view, "output", {});
  expect([...(scores ?? [])]).toEqual([13, 9, 14]);
});

it("Wanda is |w| times the norm of the input, in the rows' own group", () => {
  const view = kernel(4, 2, 3, normal(24), 2);
  const inputMeanSquare = Float64Array.from([4, 9, 16, 25]);
  const scores = wanda().elements?.(view, { inputMeanSquare });
  const norms = [
    [2, 3],
    [4, 5],
  ];
  for (let r = 0; r < 4; r++)
    for (let c = 0; c < 6; c++) {
      const norm = norms[Math.floor(r / 2)]?.[Math.floor(c / 3)] ?? 0;
      expect(scores?.[r * 6 + c]).toBe(Math.abs(view.values[r * 6 + c] ?? 0) * norm);
    }
  expect(() => wanda().elements?.(view, { inputMeanSquare: new Float64Array(3) })).toThrow(
    "w: expected statistics of 4 features, got 3.",
  );
});

it("Wanda does not change when a feature is scaled and its weights undo it", () => {
  const values = normal(12);
  const scaled = values.map((v, i) => (i % 4 === 1 ? v / 16 : v));
  const one = wanda().elements?.(kernel(3, 4, 1, values), { inputMeanSquare: Float64Array.from([1, 2, 3, 4]) });
  const two = wanda().elements?.(kernel(3, 4, 1, scaled), { inputMeanSquare: Float64Array.from([1, 512, 3, 4]) });
  for (const [i, score] of (one ?? []).entries()) expect(two?.[i]).toBeCloseTo(score, 12);
});

it("products join what either criterion needs, and multiply units where weights have no score", () => {
  const both = product(geometricMedian(), magnitude(1));
  expect(both.elements).toBeNull();
  expect(product(magnitude(1), inputNorm()).needs).toEqual(["inputMeanSquare"]);
  const view = kernel(3, 1, 1, Float32Array.from([1, 5, 10]));
  expect([...(both.features(view, "output", {}) ?? [])]).toEqual([13, 45, 140]);
  expect(both.features(view, "input", {})).toBeNull();
});

it("noise follows the seed and the parameter", () => {
  const view = kernel(3, 2, 1, new Float32Array(6));
  const scores = (seed: number, parameter = "w") => random(seed).elements?.({ ...view, parameter }, {});
  expect(scores(1)).toEqual(scores(1));
  expect(scores(1)).not.toEqual(scores(2));
  expect(scores(1)).not.toEqual(scores(1, "v"));
});

it("an unknown criterion gets the nearest name", () => {
  expect(() => criterionNamed("wnda")).toThrow('Did you mean "wanda"?');
});

it("fluctuation is the variance of an input times its squared weights, by brute force", () => {
  const view = kernel(5, 4, 1, normal(20, 3));
  const x = normal(40, 4);
  const mean = new Float64Array(4);
  const square = new Float64Array(4);
  for (let s = 0; s < 10; s++) {
    for (let j = 0; j < 4; j++) {
      mean[j] = (mean[j] ?? 0) + ((x[4 * s + j] ?? 0) + 3) / 10;
      square[j] = (square[j] ?? 0) + ((x[4 * s + j] ?? 0) + 3) ** 2 / 10;
    }
  }
  const scores = fluctuation().features(view, "input", { inputMean: mean, inputMeanSquare: square });
  for (let j = 0; j < 4; j++) {
    let [variance, weights] = [0, 0];
    for (let s = 0; s < 10; s++) variance += ((x[4 * s + j] ?? 0) + 3 - (mean[j] ?? 0)) ** 2 / 10;
    for (let r = 0; r < 5; r++) weights += (view.values[4 * r + j] ?? 0) ** 2;
    expect(scores?.[j]).toBeCloseTo(variance * weights, 9);
    // Without the mean taken off, the score would be that of an input norm.
    expect(scores?.[j]).not.toBeCloseTo((square[j] ?? 0) * weights, 1);
  }
  expect(fluctuation().features(view, "output", { inputMean: mean, inputMeanSquare: square })).toBeNull();
});

it("range is the largest weight of a row and the size of its smallest", () => {
  const view = kernel(3, 2, 2, Float32Array.of(1, -2, 0.5, 0, 3, 4, 5, 6, -1, -4, -2, -3));
  expect([...(rowRange().features(view, "output", {}) ?? [])]).toEqual([3, 9, 3]);
  expect(rowRange().features(view, "input", {})).toBeNull();
});
