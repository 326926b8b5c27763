import { describe, expect, it } from "vitest";
import { random } from "../random.ts";
import { cholesky, factorise, inverse, inverseUpper, solveRows } from "./cholesky.ts";
import { leastSquares } from "./least-squares.ts";
import { gram, matMul, matMulTransposed, transposed } from "./matrix.ts";

function normal(count: number, seed: number): Float64Array {
  const out = new Float64Array(count);
  random(seed).fillNormal(out);
  return out;
}

/** Largest absolute difference. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? 0))), 0);
}

function naiveMatMul(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  return Float64Array.from({ length: m * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let p = 0; p < k; p++) sum += (a[i * k + p] ?? 0) * (b[p * n + j] ?? 0);
    return sum;
  });
}

function identity(n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0));
}

/** Rows and columns of a square matrix. */
function pick(a: Float64Array, n: number, rows: readonly number[], cols: readonly number[]): Float64Array {
  return Float64Array.from(rows.flatMap((i) => cols.map((j) => a[i * n + j] ?? 0)));
}

describe("products", () => {
  it.each([
    [1, 1, 1],
    [5, 3, 7],
    [4, 300, 66],
    [67, 257, 65],
    [0, 3, 2],
  ])("equal the triple sum for %i x %i x %i", (m, k, n) => {
    const a = normal(m * k, 1);
    const b = normal(k * n, 2);
    const expected = naiveMatMul(a, b, m, k, n);
    expect(distance(matMul(a, b, m, k, n), expected)).toBeLessThan(1e-11);
    expect(distance(matMulTransposed(a, transposed(b, k, n), m, k, n), expected)).toBeLessThan(1e-11);
    expect(distance(gram(a, m, k), naiveMatMul(transposed(a, m, k), a, k, m, k))).toBeLessThan(1e-11);
  });

  it("refuse sizes that do not fit", () => {
    expect(() => matMul(new Float64Array(4), new Float64Array(4), 2, 3, 2)).toThrow("expected [3, 2], got 4 numbers");
  });
});

describe.each([1, 2, 7, 48, 49, 130])("the factor of a %i x %i matrix", (n) => {
  const h = gram(normal((n + 20) * n, 3), n + 20, n);
  const factor = cholesky(h, n);
  if (factor === undefined) throw new Error("expected a factor");

  it("multiplies back", () => {
    expect(distance(matMulTransposed(factor.lower, factor.lower, n, n, n), h)).toBeLessThan(1e-11 * n);
    expect(factor.lower.every((x, at) => at % n <= Math.floor(at / n) || x === 0)).toBe(true);
  });

  it("solves and inverts", () => {
    const b = normal(9 * n, 4);
    expect(distance(matMul(solveRows(factor, b, 9), h, 9, n, n), b)).toBeLessThan(1e-10);
    expect(distance(matMul(inverse(factor), h, n, n, n), identity(n))).toBeLessThan(1e-10);
  });

  it("gives the upper factor of the inverse", () => {
    const { upper, damping } = inverseUpper(h, n, { damping: 0 });
    expect(damping).toBe(0);
    const back = matMul(transposed(upper, n, n), upper, n, n, n);
    expect(distance(back, inverse(factor))).toBeLessThan(1e-11);
    expect(upper.every((x, at) => at % n >= Math.floor(at / n) || x === 0)).toBe(true);
    // U[i,i]² is the corner of the inverse of what is left from column i on: the reason why the sweep needs no update.
    const i = Math.floor(n / 2);
    const rest = Array.from({ length: n - i }, (_, k) => i + k);
    const part = cholesky(pick(h, n, rest, rest), n - i);
    expect(part && inverse(part)[0]).toBeCloseTo((upper[i * n + i] ?? 0) ** 2, 12);
  });
});

describe("optimal brain removal", () => {
  const [samples, n, rows] = [200, 24, 5];
  const mix = normal(n * n, 5);
  const x = matMul(normal(samples * n, 6), mix, samples, n, n); // correlated inputs
  const w = normal(rows * n, 7);
  const h = gram(x, samples, n);
  const removed = [0, 3, 4, 11, 23];
  const kept = Array.from({ length: n }, (_, i) => i).filter((i) => !removed.includes(i));

  function columns(a: Float64Array, count: number, which: readonly number[]): Float64Array {
    return Float64Array.from({ length: count * which.length }, (_, at) => {
      return a[Math.floor(at / which.length) * n + (which[at % which.length] ?? 0)] ?? 0;
    });
  }

  function joint(hessian: Float64Array): Float64Array {
    const factor = cholesky(pick(hessian, n, kept, kept), kept.length);
    if (factor === undefined) throw new Error("expected a factor");
    const b = matMul(w, columns(hessian, n, kept), rows, n, kept.length);
    return solveRows(factor, b, rows);
  }

  const targets = matMulTransposed(x, w, samples, n, rows);
  const best = transposed(
    leastSquares(columns(x, samples, kept), targets, samples, kept.length, rows),
    kept.length,
    rows,
  );

  it("updates the kept weights as least squares does", () => {
    expect(distance(joint(h), best)).toBeLessThan(1e-10);
  });

  it("would notice a Hessian with one wrong entry", () => {
    const wrong = h.slice();
    wrong[n + 2] = (wrong[n + 2] ?? 0) * 1.001;
    expect(distance(joint(wrong), best)).toBeGreaterThan(1e-6);
  });

  it("loses what the inverse predicts: tr(W_P ([H⁻¹]_PP)⁻¹ W_Pᵀ)", () => {
    const whole = cholesky(h, n);
    const inner = whole && cholesky(pick(inverse(whole), n, removed, removed), removed.length);
    if (inner === undefined) throw new Error("expected a factor");
    const gone = columns(w, rows, removed);
    const predicted = solveRows(inner, gone, rows).reduce((sum, v, i) => sum + v * (gone[i] ?? 0), 0);
    const fitted = matMulTransposed(columns(x, samples, kept), best, samples, kept.length, rows);
    const loss = fitted.reduce((sum, v, i) => sum + (v - (targets[i] ?? 0)) ** 2, 0);
    expect(Math.abs(loss / predicted - 1)).toBeLessThan(1e-10);
  });
});

describe("damping", () => {
  const few = normal(5 * 12, 8);
  few.fill(0, 0, 0);
  const singular = gram(few, 5, 12);

  it("finds a singular matrix singular", () => {
    expect(cholesky(singular, 12)).toBeUndefined();
    expect(cholesky(Float64Array.of(1, 2, 2, 1), 2)).toBeUndefined();
    expect(cholesky(Float64Array.of(Number.NaN), 1)).toBeUndefined();
    expect(cholesky(Float64Array.of(Number.POSITIVE_INFINITY), 1)).toBeUndefined();
  });

  it("climbs until it works and says how far", () => {
    expect(factorise(singular, 12, { damping: 0 }).damping).toBeCloseTo(1e-8, 12);
    expect(factorise(singular, 12).damping).toBe(0.01);
    const indefinite = Float64Array.of(1, 1.5, 1.5, 1);
    const { damping, lower } = factorise(indefinite, 2);
    expect(damping).toBe(1);
    expect((lower[0] ?? 0) ** 2).toBeCloseTo(2, 12);
  });

  it("gives features that never fire a diagonal of one", () => {
    const h = Float64Array.of(4, 0, 0, 0, 0, 0, 0, 0, 2);
    const { dead, lower } = factorise(h, 3, { damping: 0.5 });
    expect(dead).toEqual([1]);
    expect([0, 4, 8].map((i) => (lower[i] ?? 0) ** 2)).toEqual([5.5, 2.5, 3.5].map((v) => expect.closeTo(v, 12)));
    const reversed = inverseUpper(Float64Array.of(0, 0, 0, 4), 2, { damping: 0 });
    expect(reversed.dead).toEqual([0]);
    expect([...reversed.upper]).toEqual([1, 0, 0, 0.5]);
    expect(factorise(new Float64Array(4), 2).dead).toEqual([0, 1]);
  });

  it("gives up on NaN with advice", () => {
    expect(() => factorise(Float64Array.of(1, Number.NaN, Number.NaN, 1), 2)).toThrow("no damping repairs");
  });
});
