import { describe, expect, it } from "vitest";
import { random } from "../random.ts";
import { svd, symmetricEigen } from "./eigen.ts";
import { leastSquares, polynomialFit } from "./least-squares.ts";
import { gram, matMul, matMulTransposed, transposed } from "./matrix.ts";

function normal(count: number, seed: number): Float64Array {
  const out = new Float64Array(count);
  random(seed).fillNormal(out);
  return out;
}

function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? 0))), 0);
}

function identity(n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0));
}

/** leftᵀ diag(values) right */
function composed(left: Float64Array, values: Float64Array, right: Float64Array, m: number, n: number): Float64Array {
  const k = values.length;
  const scaled = left.map((x, at) => x * (values[Math.floor(at / m)] ?? 0));
  return matMul(transposed(scaled, k, m), right, m, k, n);
}

function isDescending(values: Float64Array): boolean {
  return values.every((v, i) => i === 0 || v <= (values[i - 1] ?? 0));
}

describe("symmetricEigen", () => {
  const symmetric = (n: number, seed: number) => {
    const a = normal(n * n, seed);
    const t = transposed(a, n, n);
    return a.map((x, i) => x + (t[i] ?? 0));
  };
  const cases: [string, number, Float64Array][] = [1, 2, 3, 10, 65].map((n) => [`random ${n}`, n, symmetric(n, n)]);
  cases.push(["zero", 4, new Float64Array(16)], ["identity", 5, identity(5)]);
  cases.push(["rank 2", 9, gram(normal(18, 3), 2, 9)]);
  cases.push(["tiny", 6, symmetric(6, 2).map((x) => x * 1e-200)]);
  cases.push(["graded", 4, Float64Array.of(1e12, 1e6, 1, 0, 1e6, 1e3, 1, 0, 1, 1, 1e-3, 0, 0, 0, 0, 1e-9)]);
  cases.push(["ones", 7, new Float64Array(49).fill(1)]);

  it.each(cases)("decomposes: %s", (_, n, a) => {
    const { values, vectors } = symmetricEigen(a, n);
    const scale = Math.max(...a.map(Math.abs)) * n;
    expect(distance(composed(vectors, values, vectors, n, n), a)).toBeLessThanOrEqual(1e-14 * scale);
    expect(distance(matMulTransposed(vectors, vectors, n, n, n), identity(n))).toBeLessThan(1e-13 * n);
    expect(isDescending(values)).toBe(true);
  });

  it("knows the second difference matrix", () => {
    const n = 8;
    const a = Float64Array.from({ length: n * n }, (_, at) => {
      const gap = Math.abs(Math.floor(at / n) - (at % n));
      return gap === 0 ? 2 : gap === 1 ? -1 : 0;
    });
    const exact = Array.from({ length: n }, (_, k) => 2 + 2 * Math.cos(((k + 1) * Math.PI) / (n + 1)));
    expect(distance(symmetricEigen(a, n).values, exact)).toBeLessThan(1e-14);
    expect(distance(symmetricEigen(a, n).values, exact.toReversed())).toBeGreaterThan(1);
  });

  it("refuses NaN", () => {
    expect(() => symmetricEigen(Float64Array.of(1, Number.NaN, Number.NaN, 1), 2)).toThrow("got NaN at 1");
  });
});

describe("svd", () => {
  it.each([
    [1, 1],
    [9, 4],
    [4, 9],
    [30, 30],
  ])("decomposes %i x %i", (m, n) => {
    const a = normal(m * n, m);
    const k = Math.min(m, n);
    const { left, values, right } = svd(a, m, n);
    expect(distance(composed(left, values, right, m, n), a)).toBeLessThan(1e-12);
    expect(distance(matMulTransposed(left, left, k, m, k), identity(k))).toBeLessThan(1e-12);
    expect(distance(matMulTransposed(right, right, k, n, k), identity(k))).toBeLessThan(1e-12);
    expect(isDescending(values) && (values.at(-1) ?? -1) >= 0).toBe(true);
  });

  it("finds small singular values that the Gram matrix loses", () => {
    const a = Float64Array.of(1, 1, 1e-9, 0, 0, 1e-9);
    expect(svd(a, 3, 2).values[1] ?? 0).toBeCloseTo(1e-9, 15);
    expect(svd(new Float64Array(6), 3, 2).values).toEqual(new Float64Array(2));
  });
});

describe("leastSquares", () => {
  it("leaves a residual orthogonal to the columns", () => {
    const [m, n, r] = [40, 6, 3];
    const a = normal(m * n, 1);
    const b = normal(m * r, 2);
    const fitted = matMul(a, leastSquares(a, b, m, n, r), m, n, r);
    const residual = b.map((v, i) => v - (fitted[i] ?? 0));
    expect(distance(matMul(transposed(a, m, n), residual, n, m, r), new Float64Array(n * r))).toBeLessThan(1e-12);
    expect(distance(residual, new Float64Array(m * r))).toBeGreaterThan(0.1);
  });

  it("refuses dependent columns", () => {
    expect(() => leastSquares(Float64Array.of(1, 2, 1, 2, 1, 2), new Float64Array(3), 3, 2, 1)).toThrow("a column 1");
    expect(() => leastSquares(new Float64Array(6), new Float64Array(3), 3, 2, 1)).toThrow("a column 0");
  });

  it("fits polynomials", () => {
    const x = [-2, -1, 0, 1, 2, 3];
    expect(
      distance(
        polynomialFit(
          x,
          x.map((v) => 3 - v + 0.5 * v ** 3),
          3,
        ),
        [3, -1, 0, 0.5],
      ),
    ).toBeLessThan(1e-12);
    expect(() => polynomialFit([1, 2], [1, 2], 2)).toThrow("at least 3 points");
  });
});
