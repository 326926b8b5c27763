import { describe, expect, it } from "vitest";
import type { InputMoments, TargetMoments } from "../stats/taps/moments.ts";
import { gram, matMul, transposed } from "../tensor/linalg/matrix.ts";
import { random } from "../tensor/random.ts";
import { scaleInputs } from "./input-scales.ts";

const [n, columns, rows] = [90, 6, 4];

function noise(seed: number, length: number): Float64Array {
  const values = new Float32Array(length);
  random(seed, "scales").fillNormal(values);
  return Float64Array.from(values, (x) => x + 0.4);
}

const x = noise(1, n * columns);
const weights = noise(3, rows * columns);
const bias = noise(4, rows);
const ending = { scale: Float64Array.of(2, -0.5, 1, 3), shift: Float64Array.of(0.1, 3, -1, 0) };

/** scale · (W diag(m) x + b) + shift. */
function outputs(m: Float64Array, inputs = x): Float64Array {
  const y = new Float64Array(n * rows);
  for (let i = 0; i < n; i++)
    for (let r = 0; r < rows; r++) {
      let sum = bias[r] ?? 0;
      for (let c = 0; c < columns; c++)
        sum += (weights[r * columns + c] ?? 0) * (m[c] ?? 0) * (inputs[i * columns + c] ?? 0);
      y[i * rows + r] = (ending.scale[r] ?? 0) * sum + (ending.shift[r] ?? 0);
    }
  return y;
}

function moments(inputs: Float64Array, targets: Float64Array): [InputMoments, TargetMoments] {
  const sumOf = (a: Float64Array, width: number, power: number) =>
    Float64Array.from({ length: width }, (_, c) => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += (a[i * width + c] ?? 0) ** power;
      return sum;
    });
  return [
    { count: n, columns, sum: sumOf(inputs, columns, 1), gram: [gram(inputs, n, columns)] },
    {
      rows,
      sum: sumOf(targets, rows, 1),
      squares: sumOf(targets, rows, 2),
      cross: [matMul(transposed(targets, n, rows), inputs, rows, n, columns)],
    },
  ];
}

const errorOf = (m: Float64Array, d: Float64Array, inputs = x): number =>
  outputs(m, inputs).reduce((sum, y, i) => sum + (y - (d[i] ?? 0)) ** 2, 0) / n;

const ones = new Float64Array(columns).fill(1);
const run = (d: Float64Array, pull: number, inputs = x) =>
  scaleInputs(...moments(inputs, d), { weights, bias }, ending, pull);

describe("scales of inputs", () => {
  it("are found where there are some that give the target", () => {
    const m = Float64Array.of(1, -2, 0.5, 3, 0, 1.5);
    const { scales, after, weights: scaled } = run(outputs(m), 0);
    for (const [j, scale] of scales.entries()) expect(scale).toBeCloseTo(m[j] ?? Number.NaN, 6);
    expect(after).toBeLessThan(1e-9);
    for (const [i, w] of scaled.entries()) expect(w).toBeCloseTo((weights[i] ?? 0) * (m[i % columns] ?? 0), 6);
  });

  it("say the error before and after, and none nearby is less", () => {
    const d = noise(9, n * rows);
    const { scales, before, after } = run(d, 0);
    expect(before).toBeCloseTo(errorOf(ones, d), 9);
    expect(after).toBeCloseTo(errorOf(scales, d), 9);
    for (let j = 0; j < columns; j++)
      for (const by of [-0.01, 0.01]) {
        const other = scales.slice();
        other[j] = (other[j] ?? 0) + by;
        expect(errorOf(other, d)).toBeGreaterThan(after);
      }
  });

  it("never raise the error, are pulled towards 1, and held to ten", () => {
    const d = noise(9, n * rows);
    const far = (m: Float64Array) => m.reduce((sum, scale) => sum + (scale - 1) ** 2, 0);
    let last = Number.POSITIVE_INFINITY;
    for (const pull of [0, 1e-3, 0.1, 10]) {
      const { scales, before, after } = run(d, pull);
      expect(after).toBeLessThanOrEqual(before);
      expect(far(scales)).toBeLessThan(last);
      last = far(scales);
    }
    expect(Math.max(...run(outputs(Float64Array.of(40, 1, 1, 1, 1, 1)), 0).scales)).toBe(10);
  });

  it("leave what never fires", () => {
    const quiet = x.map((value, i) => (i % columns === 2 ? 0 : value));
    const { scales, after } = run(noise(9, n * rows), 1e-3, quiet);
    expect(scales[2]).toBe(1);
    expect(after).toBeCloseTo(errorOf(scales, noise(9, n * rows), quiet), 9);
  });
});
