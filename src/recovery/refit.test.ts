import { describe, expect, it } from "vitest";
import type { InputMoments, TargetMoments } from "../stats/taps/moments.ts";
import { leastSquares } from "../tensor/linalg/least-squares.ts";
import { gram, matMul, transposed } from "../tensor/linalg/matrix.ts";
import { plainProducts } from "../tensor/linalg/products.ts";
import { random } from "../tensor/random.ts";
import { type Refitted, refit as refitted } from "./refit.ts";

const n = 80;
const columns = 5;
const rows = 3;

function noise(seed: number, length: number): Float64Array {
  const values = new Float32Array(length);
  random(seed, "refit").fillNormal(values);
  return Float64Array.from(values, (x) => x + 0.5);
}

const x = noise(1, n * columns);
const d = noise(2, n * rows);
const weights = noise(3, rows * columns);
const bias = noise(4, rows);
const ending = { scale: Float64Array.of(2, -0.5, 1), shift: Float64Array.of(0.1, 3, -1) };

function moments(inputs: Float64Array, targets: Float64Array): [InputMoments, TargetMoments] {
  const sumOf = (a: Float64Array, width: number, power = 1) =>
    Float64Array.from({ length: width }, (_, c) => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += (a[i * width + c] ?? 0) ** power;
      return sum;
    });
  return [
    { count: n, columns, sum: sumOf(inputs, columns), gram: [gram(inputs, n, columns)] },
    {
      rows,
      sum: sumOf(targets, rows),
      squares: sumOf(targets, rows, 2),
      cross: [matMul(transposed(targets, n, rows), inputs, rows, n, columns)],
    },
  ];
}

function refit(
  inputs: InputMoments,
  target: TargetMoments,
  weights: Float64Array,
  bias: Float64Array,
  ending: { readonly scale: Float64Array; readonly shift: Float64Array },
  damping: number,
  freeBias = true,
): Promise<Refitted> {
  return refitted({ inputs, target, now: { weights, bias }, ending, freeBias, products: plainProducts }, damping);
}

/** Mean squared error of scale · (W x + b) + shift, summed over rows. */
function errorOf(w: Float64Array, b: Float64Array, inputs = x): number {
  let error = 0;
  for (let i = 0; i < n; i++) {
    for (let r = 0; r < rows; r++) {
      let y = b[r] ?? 0;
      for (let c = 0; c < columns; c++) y += (w[r * columns + c] ?? 0) * (inputs[i * columns + c] ?? 0);
      error += ((ending.scale[r] ?? 0) * y + (ending.shift[r] ?? 0) - (d[i * rows + r] ?? 0)) ** 2;
    }
  }
  return error / n;
}

describe("refit", () => {
  it("without damping equals ordinary least squares with a constant input", async () => {
    const [inputs, target] = moments(x, d);
    const found = await refit(inputs, target, weights, bias, ending, 0);
    const withOne = Float64Array.from({ length: n * (columns + 1) }, (_, i) => {
      const c = i % (columns + 1);
      return c === columns ? 1 : (x[Math.floor(i / (columns + 1)) * columns + c] ?? 0);
    });
    const wanted = d.map((value, i) => (value - (ending.shift[i % rows] ?? 0)) / (ending.scale[i % rows] ?? 1));
    const expected = leastSquares(withOne, wanted, n, columns + 1, rows);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        expect(found.weights[r * columns + c]).toBeCloseTo(expected[c * rows + r] ?? Number.NaN, 9);
      }
      expect(found.bias[r]).toBeCloseTo(expected[columns * rows + r] ?? Number.NaN, 9);
    }
  });

  it("with biases that stay equals ordinary least squares without a constant input", async () => {
    const [inputs, target] = moments(x, d);
    const found = await refit(inputs, target, weights, bias, ending, 0, false);
    const wanted = d.map((value, i) => {
      const r = i % rows;
      return (value - (ending.shift[r] ?? 0)) / (ending.scale[r] ?? 1) - (bias[r] ?? 0);
    });
    const expected = leastSquares(x, wanted, n, columns, rows);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        expect(found.weights[r * columns + c]).toBeCloseTo(expected[c * rows + r] ?? Number.NaN, 9);
      }
    }
    expect(found.bias).toEqual(bias);
    expect(found.before).toBeCloseTo(errorOf(weights, bias), 9);
    expect(found.after).toBeCloseTo(errorOf(found.weights, bias), 9);
  });

  it("among the weights that a row has equals ordinary least squares on the inputs of these", async () => {
    const [inputs, target] = moments(x, d);
    const sparse = weights.map((w, i) => ([1, 3, 5, 12].includes(i) ? 0 : w));
    const found = await refit(inputs, target, sparse, bias, ending, 0);
    for (let r = 0; r < rows; r++) {
      const kept = [...Array(columns).keys()].filter((c) => sparse[r * columns + c] !== 0);
      const width = kept.length + 1;
      const withOne = Float64Array.from({ length: n * width }, (_, i) => {
        const c = kept[i % width];
        return c === undefined ? 1 : (x[Math.floor(i / width) * columns + c] ?? 0);
      });
      const wanted = Float64Array.from(
        { length: n },
        (_, i) => ((d[i * rows + r] ?? 0) - (ending.shift[r] ?? 0)) / (ending.scale[r] ?? 1),
      );
      const expected = leastSquares(withOne, wanted, n, width, 1);
      for (let c = 0; c < columns; c++) {
        const at = kept.indexOf(c);
        if (at < 0) expect(found.weights[r * columns + c]).toBe(0);
        else expect(found.weights[r * columns + c]).toBeCloseTo(expected[at] ?? Number.NaN, 2);
      }
      expect(found.bias[r]).toBeCloseTo(expected[kept.length] ?? Number.NaN, 2);
    }
    expect(found.after).toBeCloseTo(errorOf(found.weights, found.bias), 9);
  });

  it.each([0, 1e-3, 0.1, 10])("with damping %d says its error and never raises it", async (damping) => {
    const [inputs, target] = moments(x, d);
    const found = await refit(inputs, target, weights, bias, ending, damping);
    expect(found.before).toBeCloseTo(errorOf(weights, bias), 9);
    expect(found.after).toBeCloseTo(errorOf(found.weights, found.bias), 9);
    expect(found.after).toBeLessThan(found.before);
  });

  it("raises the damping where inputs repeat each other, and still gains", async () => {
    const twice = x.slice();
    for (let i = 0; i < n; i++) twice[i * columns + 1] = twice[i * columns] ?? 0;
    const [inputs, target] = moments(twice, d);
    const found = await refit(inputs, target, weights, bias, ending, 0);
    expect(found.damping).toBeGreaterThan(0);
    expect(errorOf(found.weights, found.bias, twice)).toBeLessThan(errorOf(weights, bias, twice));
  });

  it("leaves a channel alone that the norm behind it switches off", async () => {
    const [inputs, target] = moments(x, d);
    const off = { ...ending, scale: Float64Array.of(2, 0, 1) };
    const found = await refit(inputs, target, weights, bias, off, 1e-3);
    expect(found.weights.subarray(columns, 2 * columns)).toEqual(weights.subarray(columns, 2 * columns));
    expect(found.bias[1]).toBe(bias[1]);
  });

  it("is caught when the mean is forgotten", async () => {
    const [inputs, target] = moments(x, d);
    const found = await refit({ ...inputs, sum: new Float64Array(columns) }, target, weights, bias, ending, 0);
    expect(Math.abs(found.after - errorOf(found.weights, found.bias))).toBeGreaterThan(1e-3);
  });
});
