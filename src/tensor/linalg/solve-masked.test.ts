import { describe, expect, it } from "vitest";
import { random } from "../random.ts";
import { factorise, solveRows } from "./cholesky.ts";
import { gram } from "./matrix.ts";
import { type Products, plainProducts } from "./products.ts";
import { solveMasked } from "./solve-masked.ts";

function normal(count: number, seed: number): Float64Array {
  const out = new Float64Array(count);
  random(seed).fillNormal(out);
  return out;
}

const [n, rows, damping] = [40, 6, 0.3];
const a = gram(normal(60 * n, 1), 60, n);
const b = normal(rows * n, 2);
const mask = Uint8Array.from(normal(rows * n, 3), (value) => (value > 0 ? 1 : 0));

/** What a factor of the rows and columns that are left gives. */
function direct(r: number): Float64Array {
  const kept = [...Array(n).keys()].filter((i) => mask[r * n + i] === 1);
  const inner = Float64Array.from(kept.flatMap((i) => kept.map((j) => (a[i * n + j] ?? 0) + (i === j ? damping : 0))));
  const sides = Float64Array.from(kept, (i) => b[r * n + i] ?? 0);
  const solved = solveRows(factorise(inner, kept.length, { damping: 0 }), sides, 1);
  const out = new Float64Array(n);
  for (const [at, i] of kept.entries()) out[i] = solved[at] ?? 0;
  return out;
}

/** ½ xᵀ(A + λI)x − bᵀx of the first row. */
function quadratic(x: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) sum += 0.5 * (x[i] ?? 0) * (a[i * n + j] ?? 0) * (x[j] ?? 0);
    sum += 0.5 * damping * (x[i] ?? 0) ** 2 - (b[i] ?? 0) * (x[i] ?? 0);
  }
  return sum;
}

describe("solving inside masks", () => {
  it("gives what a factor of what is left gives, row by row", async () => {
    const found = await solveMasked(a, n, b, mask, rows, { damping, tolerance: 1e-10 });
    for (let r = 0; r < rows; r++) {
      const expected = direct(r);
      for (let i = 0; i < n; i++) expect(found[r * n + i]).toBeCloseTo(expected[i] ?? Number.NaN, 7);
      for (let i = 0; i < n; i++) if (mask[r * n + i] === 0) expect(found[r * n + i]).toBe(0);
    }
    const other = await solveMasked(a, n, b, new Uint8Array(rows * n).fill(1), rows, { damping });
    expect(Math.abs((other[0] ?? 0) - (direct(0)[0] ?? 0))).toBeGreaterThan(1e-4);
  });

  it("gets nearer with every step", async () => {
    const reached: number[] = [];
    for (const steps of [0, 1, 2, 4, 8, 16]) {
      reached.push(quadratic(await solveMasked(a, n, b, mask, rows, { damping, steps })));
    }
    expect(reached[0]).toBe(0);
    for (const [i, value] of reached.entries()) if (i > 0) expect(value).toBeLessThan(reached[i - 1] ?? 0);
  });

  it("multiplies in float32 the rows that are not done, and gains what float64 does within its tolerance", async () => {
    const asked: { readonly rows: number; readonly single: boolean }[] = [];
    const products: Products = {
      ...plainProducts,
      addRowProducts: (c, ...rest) => {
        asked.push({ rows: rest[2], single: c.data instanceof Float32Array });
        return plainProducts.addRowProducts(c, ...rest);
      },
    };
    // The first row has one weight, which a step along it settles.
    const few = mask.slice().fill(0, 1, n).fill(1, 0, 1);
    const found = await solveMasked(a, n, b, few, rows, { damping, products });
    expect(asked.every(({ single }) => single)).toBe(true);
    expect(asked[0]?.rows).toBe(rows);
    expect(asked.at(-1)?.rows).toBeLessThan(rows);
    const whole = await solveMasked(a, n, b, mask, rows, { damping });
    const exact = quadratic(direct(0));
    expect(quadratic(whole)).toBeGreaterThan(exact);
    expect(quadratic(whole) - exact).toBeLessThan(-1e-5 * exact);
    expect(found[0]).toBeCloseTo((b[0] ?? 0) / ((a[0] ?? 0) + damping), 5);
    asked.length = 0;
    await solveMasked(a, n, b, mask, rows, { damping, products, tolerance: 1e-10 });
    expect(asked.some(({ single }) => single)).toBe(false);
  });

  it("leaves inputs that never fire at zero, and ends where nothing is asked for", async () => {
    const silent = a.slice();
    for (let i = 0; i < n; i++) {
      silent[i] = 0;
      silent[i * n] = 0;
    }
    const all = new Uint8Array(n).fill(1);
    const found = await solveMasked(silent, n, b.slice(0, n), all, 1, { damping });
    expect(found[0]).toBe(0);
    expect(found.every(Number.isFinite)).toBe(true);
    expect(await solveMasked(a, n, new Float64Array(n), all, 1)).toEqual(new Float64Array(n));
  });
});
