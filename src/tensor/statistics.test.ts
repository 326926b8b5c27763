import { describe, expect, it } from "vitest";
import { random } from "./random.ts";
import {
  auroc,
  bootstrap,
  kendall,
  knee,
  mean,
  meanInterval,
  pairedPermutationTest,
  pearson,
  ranks,
  spearman,
  standardDeviation,
} from "./statistics.ts";

describe("correlations", () => {
  it("know textbook values", () => {
    // Ranks of IQ and hours of television: rho = -29/165.
    const iq = [106, 86, 100, 101, 99, 103, 97, 113, 112, 110];
    const hours = [7, 0, 27, 50, 28, 29, 20, 12, 6, 17];
    expect(spearman(iq, hours)).toBeCloseTo(-29 / 165, 12);
    expect(kendall([1, 2, 3, 4], [1, 3, 2, 4])).toBeCloseTo(4 / 6, 12);
    expect(kendall([1, 1, 2], [1, 2, 3])).toBeCloseTo(2 / Math.sqrt(6), 12);
    expect([...ranks([3, 1, 3, 2])]).toEqual([3.5, 1, 3.5, 2]);
  });

  it("see order, not size", () => {
    const x = [1, 2, 3, 4, 5, 6];
    expect(spearman(x, x.map(Math.exp))).toBe(1);
    expect(
      kendall(
        x,
        x.map((v) => -(v ** 3)),
      ),
    ).toBe(-1);
    expect(pearson(x, x.map(Math.exp))).toBeLessThan(0.9);
    expect(spearman(x, [1, 1, 1, 1, 1, 1])).toBeNaN();
    expect(() => spearman([1], [1, 2])).toThrow("got 1 and 2");
  });
});

it("auroc counts won pairs, ties half", () => {
  const r = random(1);
  const scores = Array.from({ length: 60 }, () => r.int(9));
  const labels = scores.map((s) => s + r.int(9) > 9);
  let won = 0;
  let pairs = 0;
  for (const [i, p] of scores.entries()) {
    for (const [j, q] of scores.entries()) {
      if (!labels[i] || labels[j]) continue;
      pairs++;
      won += p > q ? 1 : p === q ? 0.5 : 0;
    }
  }
  expect(auroc(scores, labels)).toBeCloseTo(won / pairs, 12);
  expect(auroc(scores, labels)).not.toBeCloseTo(1 - won / pairs, 2);
  expect(auroc([1, 2], [true, true])).toBeNaN();
});

describe("knee", () => {
  const x = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

  it("finds where a curve bends down", () => {
    const found = knee(
      x,
      x.map((s) => (s < 0.6 ? 90 : 90 - 200 * (s - 0.6))),
    );
    expect(found.chord).toBe(0.6);
    expect(found.break).toBe(0.6);
    expect(found.sharpness).toBeGreaterThan(1000);
  });

  it("finds no sharp knee in a straight line", () => {
    expect(
      knee(
        x,
        x.map((s) => 1 - s),
      ).sharpness,
    ).toBeLessThan(5);
    expect(() => knee([0, 1], [0, 1])).toThrow("at least 4 points");
  });
});

describe("tests and intervals", () => {
  it("permutes exactly when few", () => {
    // All five differences have one sign: 2 of 32 sign patterns are as extreme.
    expect(pairedPermutationTest([2, 3, 4, 5, 6], [1, 1, 1, 1, 1])).toBe(2 / 32);
    expect(pairedPermutationTest([1, 2], [2, 1])).toBe(1);
  });

  it("has the right level when many", () => {
    const r = random(4);
    let rejected = 0;
    for (let round = 0; round < 300; round++) {
      const a = Array.from({ length: 20 }, () => r.normal());
      const b = Array.from({ length: 20 }, () => r.normal());
      if (pairedPermutationTest(a, b, { rounds: 199, seed: round }) <= 0.05) rejected++;
    }
    expect(rejected / 300).toBeLessThan(0.09);
    expect(rejected / 300).toBeGreaterThan(0.015);
    const shifted = Array.from({ length: 20 }, () => r.normal() + 2);
    expect(pairedPermutationTest(shifted, new Float64Array(20), { rounds: 999 })).toBe(1 / 1000);
  });

  it("knows Student's table", () => {
    const t = (n: number, confidence: number) => {
      const values = Array.from({ length: n }, (_, i) => i);
      const { low, high } = meanInterval(values, confidence);
      return ((high - low) / 2 / standardDeviation(values)) * Math.sqrt(n);
    };
    expect(t(2, 0.95)).toBeCloseTo(12.7062, 4);
    expect(t(3, 0.95)).toBeCloseTo(4.3027, 4);
    expect(t(5, 0.95)).toBeCloseTo(2.7764, 4);
    expect(t(6, 0.99)).toBeCloseTo(4.0321, 4);
    expect(t(31, 0.95)).toBeCloseTo(2.0423, 4);
    expect(meanInterval([1]).low).toBeNaN();
  });

  it("bootstraps about what Student says for a mean", () => {
    const values = Array.from({ length: 100 }, () => 0);
    const r = random(3);
    const sample = values.map(() => r.normal());
    const resampled = bootstrap(sample);
    const student = meanInterval(sample);
    expect(resampled.low).toBeCloseTo(student.low, 1);
    expect(resampled.high).toBeCloseTo(student.high, 1);
    expect(resampled).toEqual(bootstrap(sample));
    expect(mean(sample)).toBeGreaterThan(resampled.low);
  });
});
