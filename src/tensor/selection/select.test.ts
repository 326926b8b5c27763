import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { random } from "../random.ts";
import {
  countOf,
  keepNofM,
  kSmallest,
  kthSmallest,
  quantile,
  type Scores,
  smallest,
  smallestPerRow,
  ThresholdFinder,
  topK,
} from "./select.ts";

/** The definition: sort all (score, index) pairs. */
function ranking(scores: Scores): number[] {
  return Array.from(scores, (score, i) => ({ score, i }))
    .sort((a, b) => (a.score === b.score ? a.i - b.i : a.score < b.score ? -1 : 1))
    .map(({ i }) => i);
}

function smallestBySorting(scores: Scores, k: number): Uint8Array {
  const mask = new Uint8Array(scores.length);
  for (const i of ranking(scores).slice(0, Math.max(0, k))) mask[i] = 1;
  return mask;
}

const special = fc.constantFrom(
  0,
  -0,
  1,
  -1,
  1e-45,
  -1e-45,
  3.4e38,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
);
const anyScores: fc.Arbitrary<Scores> = fc.oneof(
  fc.array(fc.oneof(special, fc.float({ noNaN: true })), { maxLength: 40 }).map((a) => Float32Array.from(a)),
  fc.array(fc.oneof(special, fc.double({ noNaN: true })), { maxLength: 40 }).map((a) => Float64Array.from(a)),
);

function find(parts: readonly Scores[], k: number, kind: "f32" | "f64"): Uint8Array[] {
  const finder = new ThresholdFinder(k, kind);
  for (let pass = 0; pass < finder.passes; pass++) {
    for (const part of parts) finder.add(part);
    finder.nextPass();
  }
  return parts.map((part) => finder.mark(part));
}

describe("selection by rank", () => {
  it("equals sorting in long rows, whatever a sample says of them", () => {
    const n = 2500;
    const source = random(11);
    const rows: Float64Array[] = [
      Float64Array.from({ length: n }, () => source.normal()),
      // Few values, all of one, in order, and a sample of every 39th or 40th place that misleads.
      Float64Array.from({ length: n }, () => source.int(3)),
      new Float64Array(n).fill(2),
      Float64Array.from({ length: n }, (_, i) => n - i),
      Float64Array.from({ length: n }, (_, i) => (i % 39 < 2 ? 1e9 : 0) + source.uniform()),
    ];
    for (const row of rows) {
      for (const k of [0, 1, 300, 1250, 2400, 2499, 2500]) {
        expect(smallest(row, k)).toEqual(smallestBySorting(row, k));
      }
    }
    const [first = new Float64Array(0)] = rows;
    expect(smallest(first, 1250)).not.toEqual(smallestBySorting(first, 1251));
  });

  it("equals sorting, ties by index", () => {
    void fc.assert(
      fc.property(anyScores, fc.integer({ min: -1, max: 42 }), (scores, k) => {
        expect(smallest(scores, k)).toEqual(smallestBySorting(scores, k));
        expect([...kSmallest(scores, k)]).toEqual(ranking(scores).slice(0, Math.max(0, k)));
        const descending = ranking(scores.map((s) => -s));
        expect([...topK(scores, k)]).toEqual(descending.slice(0, Math.max(0, k)));
      }),
      { numRuns: 500 },
    );
  });

  it("equals sorting over several arrays, ties by array and index", () => {
    void fc.assert(
      fc.property(fc.array(anyScores, { maxLength: 5 }), fc.nat(80), (arrays, k) => {
        for (const [kind, parts] of [
          ["f32", arrays.filter((a) => a instanceof Float32Array)],
          ["f64", arrays.filter((a) => a instanceof Float64Array)],
        ] as const) {
          const all = Float64Array.from(parts.flatMap((p) => [...p]));
          expect(find(parts, k, kind).flatMap((m) => [...m])).toEqual([...smallestBySorting(all, k)]);
        }
      }),
      { numRuns: 300 },
    );
  });

  it.each([Float32Array, Float64Array])("finds any rank of arrays that are sampled first: %p", (kind) => {
    const n = 100_000;
    const normal = new kind(n);
    random(2).fillNormal(normal);
    const arrays = {
      normal,
      rounded: normal.map((x) => Math.round(x * 2) / 2),
      // Every sample looks the same: the guess is wrong, and the count says so.
      striped: normal.map((x, i) => (i % 12 === 0 ? 1000 + x : x)),
      spread: normal.map((x) => Math.exp(20 * x) * Math.sign(x)),
    };
    for (const scores of Object.values(arrays)) {
      const sorted = Float64Array.from(scores).sort();
      for (const k of [0, 1, 50, 49_999, 50_000, 99_000, n - 1])
        expect(kthSmallest(scores, k)).toBe((sorted[k] ?? 0) + 0);
    }
    normal[70_001] = Number.NaN;
    expect(() => kthSmallest(normal, 50_000)).toThrow("got NaN at 70001");
  });

  it.each([Float32Array, Float64Array])("handles large arrays with many ties: %p", (kind) => {
    const scores = new kind(40_000);
    random(1).fillNormal(scores);
    for (let i = 0; i < scores.length; i += 3) scores[i] = Math.round((scores[i] ?? 0) * 2) / 2;
    const sorted = Float64Array.from(scores).sort();
    for (const k of [17, 20_000]) {
      const mask = smallest(scores, k);
      expect(mask.reduce((a, b) => a + b, 0)).toBe(k);
      expect(kthSmallest(scores, k)).toBe(sorted[k]);
      expect(mask).toEqual(smallestBySorting(scores, k));
    }
  });

  it("selects in sorted, reversed and constant arrays", () => {
    for (const scores of [
      Float32Array.from({ length: 20_000 }, (_, i) => i),
      Float32Array.from({ length: 20_000 }, (_, i) => -i),
      new Float32Array(20_000),
      Float32Array.from({ length: 20_000 }, (_, i) => i % 2),
    ]) {
      expect(smallest(scores, 7000)).toEqual(smallestBySorting(scores, 7000));
    }
  });

  it("would notice a threshold that takes all ties", () => {
    const scores = Float32Array.of(1, 1, 1, 2);
    const all = scores.map((s) => Number(s <= kthSmallest(scores, 1)));
    expect([...smallest(scores, 2)]).toEqual([1, 1, 0, 0]);
    expect([...all]).not.toEqual([1, 1, 0, 0]);
  });

  it("refuses NaN and misuse", () => {
    const bad = Float32Array.of(1, Number.NaN);
    expect(() => smallest(bad, 1)).toThrow("scores: expected numbers, got NaN at 1.");
    expect(() => new ThresholdFinder(1).add(bad)).toThrow("got NaN at 1");
    expect(() => new ThresholdFinder(1, "f64").add(Float64Array.of(Number.NaN))).toThrow("got NaN at 0");
    expect(() => keepNofM(bad, 1, 2, 1, 2)).toThrow("got NaN at 1");
    expect(() => new ThresholdFinder(1).add(Float64Array.of(1))).toThrow("one type");
    expect(() => new ThresholdFinder(1).mark(Float32Array.of(1))).toThrow("after the last pass");
    expect(() => smallestPerRow(bad, 2, 2, 1)).toThrow("expected 4 scores, got 2");
  });
});

describe("patterns", () => {
  it("ranks every row alone", () => {
    const scores = new Float32Array(12 * 37);
    random(2).fillNormal(scores);
    const counts = Int32Array.from({ length: 12 }, (_, r) => r * 4);
    const mask = smallestPerRow(scores, 12, 37, counts);
    for (let r = 0; r < 12; r++) {
      const row = scores.subarray(r * 37, (r + 1) * 37);
      expect(mask.subarray(r * 37, (r + 1) * 37)).toEqual(smallestBySorting(row, r * 4));
    }
    expect(smallestPerRow(scores, 12, 37, 5).reduce((a, b) => a + b, 0)).toBe(60);
  });

  it("keeps n of m by rank along the middle axis", () => {
    void fc.assert(
      fc.property(
        fc.constantFrom([2, 4], [1, 2], [4, 8], [0, 3], [3, 3]),
        fc.constantFrom(1, 3),
        fc.nat(),
        (nm, inner, seed) => {
          const [n = 0, m = 1] = nm;
          const [rows, cols] = [3, 2 * m];
          const r = random(seed);
          const scores = Float32Array.from({ length: rows * cols * inner }, () => r.int(4));
          const mask = keepNofM(scores, rows, cols, n, m, inner);
          for (let g = 0; g < rows * 2; g++) {
            for (let i = 0; i < inner; i++) {
              const at = Array.from({ length: m }, (_, a) => (g * m + a) * inner + i);
              const gone = smallestBySorting(
                Float32Array.from(at, (j) => scores[j] ?? 0),
                m - n,
              );
              expect(at.map((j) => mask[j])).toEqual([...gone].map((x) => 1 - x));
            }
          }
        },
      ),
    );
    expect(() => keepNofM(new Float32Array(6), 1, 6, 2, 4)).toThrow("pattern 2:4: expected an axis that 4 divides");
  });
});

describe("counts and quantiles", () => {
  it("rounds half up", () => {
    expect([countOf(0.145, 100), countOf(0.35, 10), countOf(0.344, 10), countOf(2, 5), countOf(-1, 5)]).toEqual([
      15, 4, 3, 5, 0,
    ]);
    expect(countOf(0.3, 5)).toBe(2);
  });

  it("interpolates between ranks", () => {
    const scores = Float64Array.of(40, 10, 30, 20);
    expect([0, 0.25, 0.5, 1].map((q) => quantile(scores, q))).toEqual([10, 17.5, 25, 40]);
    expect(quantile(new Float64Array(), 0.5)).toBeNaN();
  });
});
