import { describe, expect, it } from "vitest";
import { factorise, inverse } from "../../tensor/linalg/cholesky.ts";
import { leastSquares } from "../../tensor/linalg/least-squares.ts";
import { gram } from "../../tensor/linalg/matrix.ts";
import { random } from "../../tensor/random.ts";
import { type RemovalProblem, removalError, removeBlock } from "./obs.ts";

const samples = 60;
const columns = 7;
const rows = 4;

function noise(seed: number, length: number): Float64Array {
  const values = new Float32Array(length);
  random(seed, "obs").fillNormal(values);
  return Float64Array.from(values);
}

/** Inputs whose columns depend on each other, so that refitting matters. */
function problem(): { x: Float64Array; weights: Float64Array; make: () => RemovalProblem } {
  const x = noise(1, samples * columns);
  for (let i = 0; i < samples; i++) x[i * columns + 2] = (x[i * columns + 2] ?? 0) + 0.9 * (x[i * columns] ?? 0);
  const weights = noise(2, rows * columns);
  const h = gram(x, samples, columns);
  return {
    x,
    weights,
    make: () => ({
      weights: weights.slice(),
      inverse: inverse(factorise(h, columns, { damping: 0 })),
      rows,
      columns,
    }),
  };
}

/** Ordinary least squares of x·Wᵀ from the columns that are left: the fitted [kept, rows] and the squared error. */
function ordinary(x: Float64Array, weights: Float64Array, kept: readonly number[]) {
  const part = Float64Array.from({ length: samples * kept.length }, (_, i) => {
    const row = Math.floor(i / kept.length);
    return x[row * columns + (kept[i % kept.length] ?? 0)] ?? 0;
  });
  const y = Float64Array.from({ length: samples * rows }, (_, i) => {
    let sum = 0;
    for (let c = 0; c < columns; c++) {
      sum += (x[Math.floor(i / rows) * columns + c] ?? 0) * (weights[(i % rows) * columns + c] ?? 0);
    }
    return sum;
  });
  const fitted = leastSquares(part, y, samples, kept.length, rows);
  let error = 0;
  for (let i = 0; i < samples; i++) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let k = 0; k < kept.length; k++) sum += (part[i * kept.length + k] ?? 0) * (fitted[k * rows + r] ?? 0);
      error += (sum - (y[i * rows + r] ?? 0)) ** 2;
    }
  }
  return { fitted, error };
}

describe("removal of blocks of columns", () => {
  it("equals ordinary least squares, weights and error, block after block", () => {
    const { x, weights, make } = problem();
    const state = make();
    const error = 2 * removalError(state, [0, 1]);
    removeBlock(state, [0, 1]);
    const rest = [2, 3, 4, 5, 6];
    const first = ordinary(x, weights, rest);
    expect(Math.abs(error - first.error) / first.error).toBeLessThan(1e-9);
    const second = 2 * removalError(state, [4, 6]);
    removeBlock(state, [4, 6]);
    const left = [2, 3, 5];
    const both = ordinary(x, weights, left);
    // Errors of one removal after the other add up to the error of removing all at once.
    expect(Math.abs(error + second - both.error) / both.error).toBeLessThan(1e-9);
    for (let r = 0; r < rows; r++) {
      for (const [k, c] of left.entries()) {
        expect(state.weights[r * columns + c]).toBeCloseTo(both.fitted[k * rows + r] ?? Number.NaN, 9);
      }
      for (const c of [0, 1, 4, 6]) expect(state.weights[r * columns + c]).toBe(0);
    }
  });

  it("is not what the sum of single saliencies says", () => {
    const { x, weights, make } = problem();
    const state = make();
    const apart = 2 * (removalError(state, [0]) + removalError(state, [2]));
    const { error } = ordinary(x, weights, [1, 3, 4, 5, 6]);
    expect(Math.abs(apart - error) / error).toBeGreaterThan(0.05);
  });
});
