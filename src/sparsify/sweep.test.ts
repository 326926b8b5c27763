import { describe, expect, it } from "vitest";
import { factorise, inverse, inverseUpper, solveRows } from "../tensor/cholesky.ts";
import { gram, matMul, matMulTransposed } from "../tensor/matrix.ts";
import { random } from "../tensor/random.ts";
import { smallest, smallestPerRow } from "../tensor/select.ts";
import { type SweepChoice, type SweepOptions, sweep } from "./sweep.ts";

/** Weights and correlated inputs. X: [samples, columns]. */
function problem(rows: number, columns: number, seed = 0) {
  const samples = 3 * columns;
  const weights = new Float64Array(rows * columns);
  random(seed, "w").fillNormal(weights);
  const raw = new Float64Array(samples * columns);
  random(seed, "x").fillNormal(raw);
  const mix = new Float64Array(columns * columns);
  random(seed, "mix").fillNormal(mix, 0, 0.5 / Math.sqrt(columns));
  for (let i = 0; i < columns; i++) mix[i * columns + i] = (mix[i * columns + i] ?? 0) + 0.3;
  const x = matMul(raw, mix, samples, columns, columns);
  return { weights, x, samples, rows, columns, gram: gram(x, samples, columns) };
}

type Problem = ReturnType<typeof problem>;

function swept(p: Problem, choose: SweepChoice, options: SweepOptions = {}) {
  return sweep(p.weights, p.gram, choose, options);
}

/** ‖W X − V X‖², computed on the inputs themselves. */
function distance({ weights, x, samples, rows, columns }: Problem, other: ArrayLike<number>): number {
  const difference = weights.map((w, i) => w - (other[i] ?? 0));
  return matMulTransposed(difference, x, rows, columns, samples).reduce((sum, d) => sum + d * d, 0);
}

function furthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? 0))), 0);
}

/** The least loss that any weights with this mask have: one regression per row. */
function refitted({ weights, gram: h, rows, columns }: Problem, mask: Uint8Array): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    const kept = Array.from({ length: columns }, (_, j) => j).filter((j) => mask[r * columns + j] === 1);
    const size = kept.length;
    const inner = Float64Array.from({ length: size * size }, (_, i) => {
      return h[(kept[Math.floor(i / size)] ?? 0) * columns + (kept[i % size] ?? 0)] ?? 0;
    });
    const target = Float64Array.from(kept, (j) => {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += (h[j * columns + k] ?? 0) * (weights[r * columns + k] ?? 0);
      return sum;
    });
    const solved = solveRows(factorise(inner, size, { damping: 0 }), target, 1);
    for (const [i, j] of kept.entries()) out[r * columns + j] = solved[i] ?? 0;
  }
  return out;
}

/** Inputs in which each feature follows the one before it, as neighbouring channels do. */
function smooth(rows: number, columns: number): Problem {
  const p = problem(rows, columns, 3);
  const { x, samples } = p;
  random(3, "smooth").fillNormal(x);
  for (let s = 0; s < samples; s++)
    for (let j = 1; j < columns; j++)
      x[s * columns + j] = 0.9 * (x[s * columns + j - 1] ?? 0) + 0.44 * (x[s * columns + j] ?? 0);
  return { ...p, gram: gram(x, samples, columns) };
}

/** The optimal brain surgeon with an inverse of its own for every column. */
function surgery({ weights, gram: h, rows, columns: n }: Problem, mask: Uint8Array): Float64Array {
  const out = weights.slice();
  for (let j = 0; j < n; j++) {
    const size = n - j;
    const rest = Float64Array.from({ length: size * size }, (_, i) => {
      return h[(j + Math.floor(i / size)) * n + j + (i % size)] ?? 0;
    });
    const inverted = inverse(factorise(rest, size, { damping: 0 }));
    for (let r = 0; r < rows; r++) {
      if (mask[r * n + j] === 1) continue;
      const error = (out[r * n + j] ?? 0) / (inverted[0] ?? 1);
      for (let k = 0; k < size; k++) out[r * n + j + k] = (out[r * n + j + k] ?? 0) - error * (inverted[k] ?? 0);
    }
  }
  return out;
}

/** Algorithm 1 as the paper writes it, with U of the inverse: chooses so many of each block before it is swept. */
function published(
  { weights, gram: h, rows, columns: n }: Problem,
  size: number,
  chosen: (scores: Float64Array) => Uint8Array,
) {
  const { upper } = inverseUpper(h, n);
  const u = (i: number, j: number) => upper[i * n + j] ?? 0;
  const out = weights.slice();
  const mask = new Uint8Array(rows * n).fill(1);
  let loss = 0;
  for (let from = 0; from < n; from += size) {
    const width = Math.min(size, n - from);
    const scores = Float64Array.from({ length: rows * width }, (_, i) => {
      const j = from + (i % width);
      return ((out[Math.floor(i / width) * n + j] ?? 0) / u(j, j)) ** 2;
    });
    for (const [i, gone] of chosen(scores).entries()) {
      if (gone === 1) mask[Math.floor(i / width) * n + from + (i % width)] = 0;
    }
    for (let j = from; j < from + width; j++) {
      for (let r = 0; r < rows; r++) {
        if (mask[r * n + j] === 1) continue;
        const error = (out[r * n + j] ?? 0) / u(j, j);
        loss += error * error;
        for (let k = j; k < n; k++) out[r * n + k] = (out[r * n + k] ?? 0) - error * u(j, k);
        out[r * n + j] = 0;
      }
    }
  }
  return { weights: out, mask, loss };
}

const ways: readonly (readonly [string, SweepChoice])[] = [
  ["half of each block", { kind: "sparsity", sparsity: 0.5 }],
  ["2:4", { kind: "pattern", pattern: { kind: "n:m", keep: 2, of: 4 } }],
  ["1:4", { kind: "pattern", pattern: { kind: "n:m", keep: 1, of: 4 } }],
  ["a mask", { kind: "mask", mask: Uint8Array.from({ length: 7 * 24 }, (_, i) => +(i % 3 !== 0)) }],
];

const half: SweepChoice = { kind: "sparsity", sparsity: 0.5 };

describe.each(ways)("%s", (_, choose) => {
  const p = problem(7, 24);

  it.each([1, 5, 8, 128])("adds up exactly the loss that it makes, in blocks of %d", async (blockSize) => {
    const { weights, mask, loss } = await swept(p, choose, { blockSize, damping: 0 });
    expect(loss / distance(p, weights)).toBeCloseTo(1, 6);
    for (const [i, keep] of mask.entries()) if (keep === 0) expect(weights[i]).toBe(0);
  });

  it("cannot be better than the joint refit of its mask", async () => {
    const { mask, loss } = await swept(p, choose, { damping: 0 });
    expect(loss).toBeGreaterThanOrEqual(distance(p, refitted(p, mask)) * (1 - 1e-9));
  });

  it("does column by column what the surgeon's formula says", async () => {
    const { weights, mask } = await swept(p, choose, { blockSize: 5, damping: 0 });
    for (const [i, value] of surgery(p, mask).entries()) expect(weights[i]).toBeCloseTo(value, 8);
  });

  it("removes what it was asked to", async () => {
    const { mask } = await swept(p, choose);
    const kept = mask.reduce((sum, keep) => sum + keep, 0);
    if (choose.kind === "sparsity") expect(kept).toBe(84);
    else if (choose.kind === "mask") expect(mask).toEqual(choose.mask);
    else
      for (let at = 0; at < mask.length; at += 4)
        expect(mask.subarray(at, at + 4).reduce((sum, keep) => sum + keep, 0)).toBe(choose.pattern.keep);
  });
});

describe("the published algorithm, which has an inverse where this has one factor", () => {
  const p = smooth(24, 200);
  const two4: SweepChoice = { kind: "pattern", pattern: { kind: "n:m", keep: 2, of: 4 } };
  it.each([
    ["half of each block", half, published(p, 128, (scores) => smallest(scores, scores.length / 2))],
    ["2:4", two4, published(p, 4, (scores) => smallestPerRow(scores, 24, 4, 2))],
  ])("chooses and updates the same: %s", async (_, choose, expected) => {
    const { weights, mask, loss } = await swept(p, choose);
    expect(mask).toEqual(expected.mask);
    expect(loss / expected.loss).toBeCloseTo(1, 9);
    expect(furthest(weights, expected.weights)).toBeLessThan(1e-9);
  });
});

it("the loss tells a sweep whose update is left out", async () => {
  const p = problem(7, 24);
  const { mask, loss } = await swept(p, half, { damping: 0 });
  const without = p.weights.map((w, i) => w * (mask[i] ?? 0));
  expect(Math.abs(distance(p, without) / loss - 1)).toBeGreaterThan(0.05);
});

it("a mask that takes only the last columns is refitted by nothing, one that takes the first is refitted fully", async () => {
  const p = problem(3, 12);
  const first = Uint8Array.from({ length: 36 }, (_, i) => +(i % 12 >= 4));
  const { weights } = await swept(p, { kind: "mask", mask: first }, { damping: 0 });
  for (const [i, value] of refitted(p, first).entries()) expect(weights[i]).toBeCloseTo(value, 8);
  const last = Uint8Array.from({ length: 36 }, (_, i) => +(i % 12 < 8));
  const frozen = await swept(p, { kind: "mask", mask: last }, { damping: 0 });
  for (const [i, keep] of last.entries()) {
    if (keep === 0) expect(frozen.weights[i]).toBe(0);
    else expect(frozen.weights[i]).toBeCloseTo(p.weights[i] ?? 0, 12);
  }
});

it("2:4 along channels keeps two of four at each kernel position, chosen on updated weights", async () => {
  const p = problem(5, 24);
  const pattern = { kind: "n:m", keep: 2, of: 4 } as const;
  const { mask } = await swept(p, { kind: "pattern", pattern }, { blockSize: 5, positions: 3 });
  for (let r = 0; r < 5; r++)
    for (let group = 0; group < 2; group++)
      for (let position = 0; position < 3; position++) {
        const kept = [0, 1, 2, 3].map((f) => mask[r * 24 + (group * 4 + f) * 3 + position] ?? 0);
        expect(kept.reduce((sum, keep) => sum + keep, 0)).toBe(2);
      }
});

it("inputs that never fire lose their weights and spoil nothing", async () => {
  const p = problem(4, 8);
  const h = p.gram.slice();
  for (let j = 0; j < 8; j++) {
    h[3 * 8 + j] = 0;
    h[j * 8 + 3] = 0;
  }
  const { weights, loss } = await swept({ ...p, gram: h }, half);
  for (let r = 0; r < 4; r++) expect(weights[r * 8 + 3]).toBe(0);
  expect(Number.isFinite(loss)).toBe(true);
});

it("halves the error of masking by magnitude, or better, where inputs are correlated", async () => {
  const p = smooth(32, 64);
  const { weights } = await swept(p, half);
  const removed = smallest(
    p.weights.map((w) => w * w),
    (32 * 64) / 2,
  );
  const plain = p.weights.map((w, i) => (removed[i] === 1 ? 0 : w));
  expect(distance(p, Float64Array.from(weights))).toBeLessThan(0.5 * distance(p, plain));
});

it("refuses what does not fit", async () => {
  const p = problem(2, 6);
  const pattern: SweepChoice = { kind: "pattern", pattern: { kind: "n:m", keep: 2, of: 4 } };
  await expect(swept(p, { kind: "mask", mask: new Uint8Array(3) })).rejects.toThrow(
    "mask: expected [2, 6], got 3 entries.",
  );
  await expect(swept(p, pattern)).rejects.toThrow("4 does not divide its 6");
  await expect(sweep(p.weights, new Float64Array(7), half)).rejects.toThrow("expected a square matrix, got 7 numbers");
  await expect(sweep(p.weights, new Float64Array(25), half)).rejects.toThrow(
    "expected rows of 5 columns, got 12 numbers",
  );
  const four = problem(2, 8);
  await expect(swept(four, pattern, { order: "activation" })).rejects.toThrow("expected the given order of columns");
});
