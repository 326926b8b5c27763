import { afterAll, describe, expect, it } from "vitest";
import {
  furthest,
  type LayerProblem,
  layerProblem,
  outputDistance,
  smoothProblem,
} from "../../../test/layer-problems.ts";
import { openProducts } from "../../runtime/open-products.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { factorise, inverse, inverseUpper } from "../../tensor/linalg/cholesky.ts";
import { gram } from "../../tensor/linalg/matrix.ts";
import { smallest, smallestPerRow } from "../../tensor/selection/select.ts";
import { refitKept } from "./refit-kept.ts";
import { type SweepChoice, type SweepOptions, sweep, sweepFactor } from "./sweep.ts";

function swept(p: LayerProblem, choose: SweepChoice, options: SweepOptions = {}) {
  return sweep(p.weights, p.gram, choose, options);
}

/** The optimal brain surgeon with an inverse of its own for every column. */
function surgery({ weights, gram: h, rows, columns: n }: LayerProblem, mask: Uint8Array): Float64Array {
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
  { weights, gram: h, rows, columns: n }: LayerProblem,
  size: number,
  chosen: (scores: Float64Array) => Uint8Array,
  damping = 0.01,
) {
  const { upper } = inverseUpper(h, n, { damping });
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
  ["2:5 and the rest", { kind: "pattern", pattern: { kind: "n:m", keep: 2, of: 5, rest: "shorter" } }],
  ["a mask", { kind: "mask", mask: Uint8Array.from({ length: 7 * 24 }, (_, i) => +(i % 3 !== 0)) }],
];

const half: SweepChoice = { kind: "sparsity", sparsity: 0.5 };

describe.each(ways)("%s", (_, choose) => {
  const p = layerProblem(7, 24);

  it.each([1, 5, 8, 128])("adds up exactly the loss that it makes, in blocks of %d", async (blockSize) => {
    const { weights, mask, loss } = await swept(p, choose, { blockSize, damping: 0 });
    expect(loss / outputDistance(p, weights)).toBeCloseTo(1, 6);
    for (const [i, keep] of mask.entries()) if (keep === 0) expect(weights[i]).toBe(0);
  });

  it("cannot be better than the joint refit of its mask", async () => {
    const { mask, loss } = await swept(p, choose, { damping: 0 });
    expect(loss).toBeGreaterThanOrEqual((await refitKept(p.weights, p.gram, mask)).loss * (1 - 1e-9));
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
      for (let row = 0; row < 7; row++)
        for (let at = 0; at < 24; at += choose.pattern.of) {
          const group = mask.subarray(24 * row + at, 24 * row + Math.min(24, at + choose.pattern.of));
          // Of the last 4 as many stay as of 5: 0.4 of them.
          expect(group.reduce((sum, keep) => sum + keep, 0)).toBe(choose.pattern.keep);
        }
  });
});

describe("the published algorithm, which has an inverse where this has one factor", () => {
  const p = smoothProblem(24, 200);
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
  const p = layerProblem(7, 24);
  const { mask, loss } = await swept(p, half, { damping: 0 });
  const without = p.weights.map((w, i) => w * (mask[i] ?? 0));
  expect(Math.abs(outputDistance(p, without) / loss - 1)).toBeGreaterThan(0.05);
});

it("a mask that takes only the last columns is refitted by nothing, one that takes the first is refitted fully", async () => {
  const p = layerProblem(3, 12);
  const first = Uint8Array.from({ length: 36 }, (_, i) => +(i % 12 >= 4));
  const { weights } = await swept(p, { kind: "mask", mask: first }, { damping: 0 });
  for (const [i, value] of (await refitKept(p.weights, p.gram, first)).weights.entries())
    expect(weights[i]).toBeCloseTo(value, 8);
  const last = Uint8Array.from({ length: 36 }, (_, i) => +(i % 12 < 8));
  const frozen = await swept(p, { kind: "mask", mask: last }, { damping: 0 });
  for (const [i, keep] of last.entries()) {
    if (keep === 0) expect(frozen.weights[i]).toBe(0);
    else expect(frozen.weights[i]).toBeCloseTo(p.weights[i] ?? 0, 12);
  }
});

it.each([
  [24, [2, 2]],
  [30, [2, 2, 1]],
])("2:4 along %d columns of 3 positions keeps %j at each position, chosen on updated weights", async (n, counts) => {
  const p = layerProblem(5, n);
  const pattern = { kind: "n:m", keep: 2, of: 4, rest: "shorter" } as const;
  const { mask, weights, loss } = await swept(p, { kind: "pattern", pattern }, { positions: 3, damping: 0 });
  for (let r = 0; r < 5; r++)
    for (const [group, count] of counts.entries())
      for (let position = 0; position < 3; position++) {
        const features = [0, 1, 2, 3].map((f) => group * 4 + f).filter((f) => f < n / 3);
        const kept = features.map((f) => mask[r * n + f * 3 + position] ?? 0);
        expect(kept.reduce((sum, keep) => sum + keep, 0)).toBe(count);
      }
  expect(loss / outputDistance(p, weights)).toBeCloseTo(1, 6);
});

it("inputs that never fire lose their weights and spoil nothing", async () => {
  const p = layerProblem(4, 8);
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
  const p = smoothProblem(32, 64);
  const { weights } = await swept(p, half);
  const removed = smallest(
    p.weights.map((w) => w * w),
    (32 * 64) / 2,
  );
  const plain = p.weights.map((w, i) => (removed[i] === 1 ? 0 : w));
  expect(outputDistance(p, Float64Array.from(weights))).toBeLessThan(0.5 * outputDistance(p, plain));
});

describe("a layer of several leaves and corners, in float32 by a runtime", async () => {
  const p = smoothProblem(40, 300);
  const single = Float32Array.from(p.weights);
  const runtime = await openRuntime({ threads: 1 });
  const products = openProducts(runtime);
  afterAll(async () => {
    await products.release();
    await runtime.close();
  });

  it.each([
    ["half of each block", half],
    ["2:4", { kind: "pattern", pattern: { kind: "n:m", keep: 2, of: 4 } } as const],
  ])("is what plain loops make in float64: %s", async (_, choose) => {
    const plain = await swept(p, choose);
    const { weights, mask, loss } = await sweep(single, p.gram, choose, { products });
    expect(weights).toBeInstanceOf(Float32Array);
    expect(loss / plain.loss).toBeCloseTo(1, 3);
    // Where two weights cost about the same, rounding decides.
    expect(mask.filter((keep, i) => keep !== plain.mask[i]).length).toBeLessThan(0.002 * mask.length);
    expect(outputDistance(p, weights) / outputDistance(p, plain.weights)).toBeCloseTo(1, 3);
  });

  it("does not depend on the size of blocks where a mask is given", async () => {
    const { mask } = await swept(p, half);
    const results = await Promise.all(
      [1, 48, 128, 1000].map((blockSize) => sweep(single, p.gram, { kind: "mask", mask }, { products, blockSize })),
    );
    const [first] = results;
    for (const { weights, loss } of results) {
      expect(furthest(weights, first?.weights ?? [])).toBeLessThan(1e-4);
      expect(loss / (first?.loss ?? 0)).toBeCloseTo(1, 5);
    }
  });

  it("takes the memory that it is given, and a factor that layers share", async () => {
    const factor = await sweepFactor(p.gram.slice(), { products, overwrite: true });
    const own = single.slice();
    const { weights, mask } = await sweep(own, factor, half, { products, overwrite: true });
    expect(weights).toBe(own);
    const other = await sweep(single, p.gram, half, { products });
    expect(mask).toEqual(other.mask);
    expect(weights).toEqual(other.weights);
  });
});

describe("the order of the columns by their inputs", () => {
  const p = layerProblem(9, 40);
  const order = Array.from({ length: 40 }, (_, j) => j).sort((a, b) => (p.gram[b * 41] ?? 0) - (p.gram[a * 41] ?? 0));

  it("is that of a layer whose columns were put in this order", async () => {
    const inOrder = p.weights.map((_, i) => p.weights[Math.floor(i / 40) * 40 + (order[i % 40] ?? 0)] ?? 0);
    const h = p.gram.map((_, i) => p.gram[(order[Math.floor(i / 40)] ?? 0) * 40 + (order[i % 40] ?? 0)] ?? 0);
    const expected = await sweep(inOrder, h, half, { blockSize: 16 });
    const result = await swept(p, half, { blockSize: 16, order: "activation" });
    expect(result.loss).toBe(expected.loss);
    for (let i = 0; i < 360; i++) {
      const from = Math.floor(i / 40) * 40 + (order[i % 40] ?? 0);
      expect(result.weights[from]).toBe(expected.weights[i]);
      expect(result.mask[from]).toBe(expected.mask[i]);
    }
  });

  it.each([0.01, 0.2])(
    "chooses and updates as the published algorithm does on columns so ordered, damped by %d",
    async (damping) => {
      const at = (j: number): number => order[j] ?? 0;
      const weights = p.weights.map((_, i) => p.weights[Math.floor(i / 40) * 40 + at(i % 40)] ?? 0);
      const h = p.gram.map((_, i) => p.gram[at(Math.floor(i / 40)) * 40 + at(i % 40)] ?? 0);
      const q = { ...p, weights, gram: h };
      const expected = published(q, 16, (scores) => smallest(scores, scores.length / 2), damping);
      const result = await swept(p, half, { blockSize: 16, order: "activation", damping });
      for (let i = 0; i < 360; i++) {
        const from = Math.floor(i / 40) * 40 + at(i % 40);
        expect(result.mask[from]).toBe(expected.mask[i]);
        expect(result.weights[from]).toBeCloseTo(expected.weights[i] ?? 0, 9);
      }
      expect(result.loss / expected.loss).toBeCloseTo(1, 9);
      // Another order is another result: the reference would see that nothing was ordered.
      const given = await swept(p, half, { blockSize: 16, damping });
      expect(given.mask).not.toEqual(result.mask);
    },
  );

  it("adds up its loss, and takes a mask as it stands", async () => {
    const mask = Uint8Array.from({ length: 360 }, (_, i) => +(i % 3 !== 0));
    const result = await swept(p, { kind: "mask", mask }, { order: "activation", damping: 0 });
    expect(result.mask).toEqual(mask);
    expect(result.loss / outputDistance(p, result.weights)).toBeCloseTo(1, 6);
  });
});

it("removes at less error than Wanda, and than its own choice without updates, at every layer", async () => {
  for (const seed of [0, 1, 2, 3]) {
    for (const p of [layerProblem(24, 96, seed), smoothProblem(24, 96, seed)]) {
      const scores = p.weights.map((w, i) => Math.abs(w) * Math.sqrt(p.gram[(i % 96) * 97] ?? 0));
      for (const sparsity of [0.3, 0.5, 0.7]) {
        const wanda = smallestPerRow(scores, 24, 96, Math.round(96 * sparsity));
        // A block as large as the layer would choose before anything is updated, and can be worse.
        const { weights, mask } = await swept(p, { kind: "sparsity", sparsity }, { blockSize: 32 });
        const error = outputDistance(p, weights);
        const masked = (kept: (i: number) => boolean) => p.weights.map((w, i) => (kept(i) ? w : 0));
        expect(error).toBeLessThan(
          outputDistance(
            p,
            masked((i) => wanda[i] === 0),
          ),
        );
        expect(error).toBeLessThan(
          outputDistance(
            p,
            masked((i) => mask[i] === 1),
          ),
        );
      }
    }
  }
});

it("inputs that say the same, or fewer than features, are damped until they can be told apart", async () => {
  const p = layerProblem(6, 160);
  for (let s = 0; s < p.samples; s++) for (const j of [20, 150]) p.x[s * 160 + j] = p.x[s * 160 + 3] ?? 0;
  const twins = await sweep(p.weights, gram(p.x, p.samples, 160), half, { damping: 0 });
  const few = await sweep(p.weights, gram(p.x.subarray(0, 50 * 160), 50, 160), half, { damping: 0 });
  for (const { damping, weights, loss } of [twins, few]) {
    expect(damping).toBeGreaterThanOrEqual(1e-8);
    expect(damping).toBeLessThan(1e-4);
    expect(weights.every(Number.isFinite)).toBe(true);
    expect(loss).toBeGreaterThanOrEqual(0);
  }
  const seen = { ...p, samples: 50, x: p.x.subarray(0, 50 * 160) };
  const masked = p.weights.map((w, i) => w * (few.mask[i] ?? 0));
  expect(outputDistance(seen, few.weights)).toBeLessThan(0.25 * outputDistance(seen, masked));
});

it("refuses what does not fit", async () => {
  const p = layerProblem(2, 6);
  const pattern: SweepChoice = { kind: "pattern", pattern: { kind: "n:m", keep: 2, of: 4 } };
  await expect(swept(p, { kind: "mask", mask: new Uint8Array(3) })).rejects.toThrow(
    "mask: expected [2, 6], got 3 entries.",
  );
  await expect(swept(p, pattern)).rejects.toThrow("4 does not divide its 6");
  await expect(sweep(p.weights, new Float64Array(7), half)).rejects.toThrow("expected a square matrix, got 7 numbers");
  await expect(sweep(p.weights, new Float64Array(25), half)).rejects.toThrow(
    "expected rows of 5 columns, got 12 numbers",
  );
  const four = layerProblem(2, 8);
  await expect(swept(four, pattern, { order: "activation" })).rejects.toThrow("expected the given order of columns");
});
