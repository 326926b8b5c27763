import { describe, expect, it } from "vitest";
import { random } from "../random.ts";
import { factorise, inverseUpper, solveRows } from "./cholesky.ts";
import { type GramFactor, gramFactor, solveGram } from "./gram-factor.ts";
import { gram, matMul, matMulTransposed } from "./matrix.ts";
import { type Products, plainProducts } from "./products.ts";

function normal(count: number, seed: number): Float64Array {
  const out = new Float64Array(count);
  random(seed).fillNormal(out);
  return out;
}

function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? 0))), 0);
}

/** R with zeros below the diagonal. */
function clean({ upper, n }: GramFactor): Float64Array {
  return upper.map((x, at) => (at % n < Math.floor(at / n) ? 0 : x));
}

/** Sizes below, at and above the blocks of 128, whole and cut off. */
describe.each([1, 7, 128, 129, 300, 530])("the upper factor of a %i x %i Gram matrix", (n) => {
  const h = gram(normal((n + 40) * n, 3), n + 40, n);

  it("multiplies back, and leaves what was given", async () => {
    const given = h.slice();
    const factor = await gramFactor(h, n, { damping: 0 });
    const upper = clean(factor);
    expect(distance(matMulTransposed(upper, upper, n, n, n), h)).toBeLessThan(1e-11 * n);
    expect(h).toEqual(given);
    expect(factor.damping).toBe(0);
  });

  it("is the inverse of the factor of the inverse", async () => {
    const upper = clean(await gramFactor(h, n));
    const product = matMul(upper, inverseUpper(h, n).upper, n, n, n);
    expect(
      distance(
        product,
        Float64Array.from({ length: n * n }, (_, at) => +(at % (n + 1) === 0)),
      ),
    ).toBeLessThan(1e-9);
  });

  it("solves", async () => {
    const b = normal(5 * n, 4);
    const x = b.slice();
    await solveGram(await gramFactor(h, n), x, 5);
    expect(distance(x, solveRows(factorise(h, n), b, 5))).toBeLessThan(1e-9);
  });

  it("takes the memory that it is given", async () => {
    const own = h.slice();
    const factor = await gramFactor(own, n, { overwrite: true });
    expect(factor.upper).toBe(own);
    expect(distance(clean(factor), clean(await gramFactor(h, n)))).toBe(0);
  });
});

describe("damping", () => {
  const n = 200;

  it.each([false, true])(
    "climbs where inputs are fewer than features, and says how far; overwrite: %s",
    async (overwrite) => {
      const h = gram(normal(50 * n, 5), 50, n);
      const factor = await gramFactor(h.slice(), n, { damping: 0, overwrite });
      expect(factor.damping).toBeGreaterThanOrEqual(1e-8);
      expect(factor.damping).toBeLessThan(1e-5);
      const upper = clean(factor);
      const mean = h.reduce((sum, x, at) => sum + (at % (n + 1) === 0 ? x : 0), 0) / n;
      const damped = h.map((x, at) => (at % (n + 1) === 0 ? x + factor.damping * mean : x));
      expect(distance(matMulTransposed(upper, upper, n, n, n), damped)).toBeLessThan(1e-10 * mean);
    },
  );

  it("finds two equal features in different blocks, where only rounding noise is left", async () => {
    const x = normal(400 * n, 6);
    for (let r = 0; r < 400; r++) x[r * n + 3] = x[r * n + 190] ?? 0;
    const { damping } = await gramFactor(gram(x, 400, n), n, { damping: 0 });
    expect(damping).toBeGreaterThanOrEqual(1e-8);
    expect((await gramFactor(gram(x, 400, n), n)).damping).toBe(0.01);
  });

  it("gives features that never fire a diagonal of one", async () => {
    const x = normal(400 * n, 7);
    for (let r = 0; r < 400; r++) for (const j of [0, 140]) x[r * n + j] = 0;
    const factor = await gramFactor(gram(x, 400, n), n, { damping: 0 });
    expect(factor.dead).toEqual([0, 140]);
    expect(factor.damping).toBe(0);
    for (const j of [0, 140]) expect(factor.upper[j * n + j]).toBe(1);
  });

  it("gives up on NaN and infinity with advice", async () => {
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const h = gram(normal(300 * n, 8), 300, n);
      h[150 * n + 160] = wrong;
      h[160 * n + 150] = wrong;
      await expect(gramFactor(h, n)).rejects.toThrow("no damping repairs");
    }
  });
});

it("products that leave out the last term are noticed", async () => {
  const n = 300;
  const h = gram(normal(400 * n, 9), 400, n);
  const { addRowProducts } = plainProducts;
  const faulty: Products = {
    ...plainProducts,
    addRowProducts: (c, a, b, m, n, depth, sign) => addRowProducts(c, a, b, m, n, depth - 1, sign),
  };
  const upper = clean(await gramFactor(h, n, { damping: 0, products: faulty }));
  expect(distance(matMulTransposed(upper, upper, n, n, n), h)).toBeGreaterThan(1);
});
