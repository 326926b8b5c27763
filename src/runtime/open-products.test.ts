import { afterAll, describe, expect, it } from "vitest";
import { EspalierError } from "../tensor/error.ts";
import { type Floats, type Part, part, plainProducts } from "../tensor/linalg/products.ts";
import { random } from "../tensor/random.ts";
import { openProducts } from "./open-products.ts";
import { openRuntime } from "./open-runtime.node.ts";

const runtime = await openRuntime({ threads: 1 });
const products = openProducts(runtime);
const web = await openRuntime({ threads: 1, device: "wasm" });
const webProducts = openProducts(web);
afterAll(async () => {
  for (const open of [products, webProducts]) await open.release();
  for (const open of [runtime, web]) await open.close();
});

function normal<T extends Floats>(values: T, seed: number): T {
  random(seed).fillNormal(values);
  return values;
}

/** c + sign · Σₖ a·b, element by element; flipped: a and b are [depth, ...]. */
function sums(c: Part, a: Part, b: Part, m: number, n: number, depth: number, sign: number, flipped: boolean) {
  const at = ({ data, at, stride }: Part, i: number, k: number) =>
    data[at + (flipped ? k * stride + i : i * stride + k)] ?? 0;
  return Array.from({ length: m * n }, (_, e) => {
    const [i, j] = [Math.floor(e / n), e % n];
    let sum = 0;
    for (let k = 0; k < depth; k++) sum += at(a, i, k) * at(b, j, k);
    return (c.data[c.at + i * c.stride + j] ?? 0) + sign * sum;
  });
}

const sizes = [
  [3, 4, 5],
  [60, 50, 70],
  [2, 300, 200],
] as const;
const kinds = [
  ["float32", 1e-4, (n: number) => new Float32Array(n)],
  ["float64", 1e-12, (n: number) => new Float64Array(n)],
] as const;

describe.each([
  ["plain loops", plainProducts],
  ["a runtime", products],
  ["WebAssembly", webProducts],
])("products by %s", (_, by) => {
  describe.each(kinds)("in %s", (_, tolerance, make) => {
    it.each(sizes)("are the sums of products, in parts of larger matrices: %i x %i x %i", async (m, n, depth) => {
      for (const flipped of [false, true])
        for (const sign of [1, -1] as const) {
          const stride = Math.max(n, m, depth) + 3;
          const [a, b] = [1, 2].map((seed) => part(normal(make(stride * stride), seed), stride, 1, 2));
          const c = part(normal(make(stride * stride), 3), stride, 2, 1);
          if (a === undefined || b === undefined) throw new Error("no matrices");
          const before = c.data.slice();
          const expected = sums(c, a, b, m, n, depth, sign, flipped);
          await (flipped ? by.addColumnProducts : by.addRowProducts)(c, a, b, m, n, depth, sign);
          let [wrong, touched] = [0, 0];
          for (let i = 0; i < stride; i++)
            for (let j = 0; j < stride; j++) {
              const [row, column] = [i - 2, j - 1];
              const inside = row >= 0 && row < m && column >= 0 && column < n;
              const value = c.data[i * stride + j] ?? Number.NaN;
              if (!inside) touched += +(value !== before[i * stride + j]);
              else wrong = Math.max(wrong, Math.abs(value - (expected[row * n + column] ?? 0)));
            }
          expect(touched).toBe(0);
          expect(wrong).toBeLessThan(tolerance);
        }
    });
  });

  it("rounds the factors to the precision of the result", async () => {
    const a = part(
      Float64Array.from({ length: 60 * 60 }, () => 1 + 2 ** -30),
      60,
    );
    const b = part(new Float32Array(60 * 60).fill(1), 60);
    const c = part(new Float32Array(3600), 60);
    await by.addRowProducts(c, a, b, 60, 60, 60, 1);
    expect(c.data[0]).toBe(60);
  });
});

it.each([0, 3])("results beyond one strip are whole, where rows are %i numbers apart", async (gap) => {
  const [m, n, depth] = [70, 90_000, 2];
  const a = part(normal(new Float32Array(m * depth), 1), depth);
  const b = part(normal(new Float32Array(n * depth), 2), depth);
  const c = part(new Float32Array(m * (n + gap)), n + gap);
  await products.addRowProducts(c, a, b, m, n, depth, 1);
  const wrong = Array.from({ length: m }, (_, i) => i).filter((i) => {
    const expected = (a.data[i * 2] ?? 0) * (b.data[180] ?? 0) + (a.data[i * 2 + 1] ?? 0) * (b.data[181] ?? 0);
    return Math.abs((c.data[i * (n + gap) + 90] ?? 0) - expected) > 1e-5;
  });
  expect(wrong).toEqual([]);
});

it("a runtime without float64 gets plain loops there, and its own failure in float32", async () => {
  const none = openProducts({
    compile: async () => {
      throw new EspalierError("runtime", "compile", "expected an operator, got none.");
    },
  });
  const c = part(new Float64Array(60 * 60), 60);
  const a = part(normal(new Float64Array(60 * 60), 1), 60);
  await none.addRowProducts(c, a, a, 60, 60, 60, 1);
  expect(c.data[1]).toBeCloseTo(sums(part(new Float64Array(3600), 60), a, a, 60, 60, 60, 1, false)[1] ?? 0, 10);
  const single = part(new Float32Array(60 * 60), 60);
  await expect(none.addRowProducts(single, single, single, 60, 60, 60, 1)).rejects.toThrow("expected an operator");
});
