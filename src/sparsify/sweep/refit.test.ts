import { describe, expect, it } from "vitest";
import {
  furthest,
  type LayerProblem,
  layerProblem,
  outputDistance,
  smoothProblem,
} from "../../../test/layer-problems.ts";
import { leastSquares } from "../../tensor/linalg/least-squares.ts";
import { matMulTransposed } from "../../tensor/linalg/matrix.ts";
import { smallestPerRow } from "../../tensor/selection/select.ts";
import { layerError, rowErrors } from "./layer-error.ts";
import { refitKept } from "./refit-kept.ts";
import { refitScales } from "./refit-scales.ts";
import { sweep } from "./sweep.ts";

/** Least squares on the inputs themselves, row by row. */
function regression({ weights, x, samples, rows, columns }: LayerProblem, mask: Uint8Array): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    const kept = Array.from({ length: columns }, (_, j) => j).filter((j) => mask[r * columns + j] === 1);
    const a = Float64Array.from({ length: samples * kept.length }, (_, i) => {
      return x[Math.floor(i / kept.length) * columns + (kept[i % kept.length] ?? 0)] ?? 0;
    });
    const y = matMulTransposed(x, weights.slice(r * columns, (r + 1) * columns), samples, columns, 1);
    const solved = leastSquares(a, y, samples, kept.length, 1);
    for (const [i, j] of kept.entries()) out[r * columns + j] = solved[i] ?? 0;
  }
  return out;
}

/** Masks that keep half of each row by magnitude, or whole columns in all rows. */
function masks(p: LayerProblem): readonly (readonly [string, Uint8Array])[] {
  const small = smallestPerRow(p.weights.map(Math.abs), p.rows, p.columns, p.columns / 2);
  return [
    ["a mask of each row", small.map((gone) => 1 - gone)],
    ["whole columns", small.map((_, i) => +((i % p.columns) % 5 > 1))],
  ];
}

const problems = [layerProblem(7, 30), smoothProblem(5, 40), layerProblem(3, 150, 4)];

describe.each(problems.flatMap((p) => masks(p).map(([name, mask]) => ({ name, mask, p, size: p.columns }))))(
  "$name of $size columns",
  ({ mask, p }) => {
    it("is refitted as least squares on the inputs does it", async () => {
      const { weights, loss } = await refitKept(p.weights, p.gram, mask);
      const expected = regression(p, mask);
      expect(furthest(weights, expected)).toBeLessThan(1e-7);
      expect(loss / outputDistance(p, expected)).toBeCloseTo(1, 8);
      for (const [i, keep] of mask.entries()) if (keep === 0) expect(weights[i]).toBe(0);
    });

    it("joint refit, sweep, scales and zeros leave ever more error, and each knows its own", async () => {
      const masked = p.weights.map((w, i) => w * (mask[i] ?? 0));
      const best = await refitKept(p.weights, p.gram, mask);
      const swept = await sweep(p.weights, p.gram, { kind: "mask", mask }, { damping: 0 });
      const scaled = await refitScales(p.weights, masked, p.gram);
      const zeroed = await layerError(p.weights, masked, p.gram);
      expect(best.loss).toBeLessThan(swept.loss);
      expect(best.loss).toBeLessThan(scaled.loss);
      expect(scaled.loss).toBeLessThan(zeroed);
      expect(scaled.loss / outputDistance(p, scaled.weights)).toBeCloseTo(1, 8);
      expect(zeroed / outputDistance(p, masked)).toBeCloseTo(1, 8);
    });
  },
);

it("no other scale of a row is nearer", async () => {
  const [p] = problems;
  if (p === undefined) throw new Error("no problem");
  const masked = p.weights.map((w, i) => (i % 3 === 0 ? 0 : w));
  const { weights, scales } = await refitScales(p.weights, masked, p.gram);
  const best = await rowErrors(p.weights, weights, p.gram);
  for (const factor of [0.99, 1.01]) {
    const other = await rowErrors(
      p.weights,
      weights.map((w) => w * factor),
      p.gram,
    );
    for (const [r, error] of other.entries()) expect(error).toBeGreaterThan(best[r] ?? 0);
  }
  expect(scales.every((s) => s > 0 && s !== 1)).toBe(true);
  const none = await refitScales(p.weights, new Float64Array(masked.length), p.gram);
  expect(none.scales.every((s) => s === 1)).toBe(true);
});

it("damping holds the weights to what they were", async () => {
  const p = smoothProblem(4, 24);
  const mask = Uint8Array.from({ length: 96 }, (_, i) => +(i % 2 === 0));
  const far = (weights: ArrayLike<number>) => p.weights.reduce((sum, w, i) => sum + (w - (weights[i] ?? 0)) ** 2, 0);
  const [free, held, fixed] = await Promise.all(
    [0, 0.1, 1e6].map((damping) => refitKept(p.weights, p.gram, mask, { damping })),
  );
  if (free === undefined || held === undefined || fixed === undefined) throw new Error("no result");
  expect(free.loss).toBeLessThan(held.loss);
  expect(far(held.weights)).toBeLessThan(far(free.weights));
  expect(
    furthest(
      fixed.weights,
      p.weights.map((w, i) => w * (mask[i] ?? 0)),
    ),
  ).toBeLessThan(1e-4);
});

it("a Gram matrix with one wrong entry is noticed", async () => {
  const p = layerProblem(7, 30);
  const mask = Uint8Array.from({ length: 210 }, (_, i) => +(i % 2 === 0));
  const wrong = p.gram.slice();
  wrong[0] = (wrong[0] ?? 0) * 1.01;
  const { weights } = await refitKept(p.weights, wrong, mask);
  expect(furthest(weights, regression(p, mask))).toBeGreaterThan(1e-5);
});

it("what does not fit is refused", async () => {
  const p = layerProblem(2, 6);
  await expect(refitKept(p.weights, p.gram, new Uint8Array(3))).rejects.toThrow(
    "mask: expected [2, 6], got 3 entries.",
  );
  await expect(layerError(p.weights, null, new Float64Array(7))).rejects.toThrow("expected a square matrix");
  await expect(refitScales(p.weights, p.weights, new Float64Array(25))).rejects.toThrow("rows of 5 columns");
});
