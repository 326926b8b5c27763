import { describe, expect, it } from "vitest";
import { sizeOf } from "../tensor/tensor.ts";
import { er, erk, lampAscending } from "./densities.ts";

const leNet = [
  [6, 1, 5, 5],
  [16, 6, 5, 5],
  [120, 256],
  [84, 120],
  [10, 84],
].map((shape, i) => ({
  name: `layer${i}`,
  shape,
}));

describe("ERK", () => {
  it.each([
    [0.5, [1, 0.4598, 0.4221, 0.6979, 1]],
    [0.1, [0.6927, 0.0815, 0.0748, 0.1237, 0.684]],
    [0.05, [0.3463, 0.0407, 0.0374, 0.0618, 0.342]],
  ])("gives LeNet-5 at density %d its published layers", (density, expected) => {
    const found = erk(leNet, density);
    for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 4);
  });

  it("meets the budget at every density", () => {
    const total = leNet.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    for (const density of [0, 0.01, 0.3, 0.7, 0.99, 1]) {
      const kept = erk(leNet, density).reduce((sum, share, i) => sum + share * sizeOf(leNet[i]?.shape ?? []), 0);
      expect(kept / total).toBeCloseTo(density, 10);
    }
  });

  it("the golden numbers tell it from ER, which leaves the kernel out", () => {
    const found = er(leNet, 0.1);
    expect(Math.abs((found[1] ?? 0) - 0.0815)).toBeGreaterThan(0.01);
    const total = leNet.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    expect(found.reduce((sum, share, i) => sum + share * sizeOf(leNet[i]?.shape ?? []), 0) / total).toBeCloseTo(
      0.1,
      10,
    );
    // Layers that are not dense are in proportion to (in + out) / (in · out).
    const ratio = (a: number, b: number) => (found[a] ?? 0) / (found[b] ?? 1);
    expect(found.filter((share) => share === 1)).toHaveLength(1);
    expect(ratio(1, 2)).toBeCloseTo(22 / 96 / (376 / 30720), 10);
    // Without kernels the two are one.
    expect(er(leNet.slice(2), 0.2)).toEqual(erk(leNet.slice(2), 0.2));
  });
});

describe("LAMP", () => {
  const squares = (weights: readonly number[]) => Float64Array.from(weights, (w) => w * w).sort();

  it("gives the published scores", () => {
    const scores = lampAscending(squares([1, -2, 3, 0.5]));
    for (const [i, value] of [0.0175, 0.0714, 0.3077, 1].entries()) expect(scores[i]).toBeCloseTo(value, 4);
  });

  it("counts equal weights in each other's sum", () => {
    expect([...lampAscending(squares([2, 1, -1, 2]))]).toEqual([0.1, 0.1, 0.5, 0.5]);
    expect([...lampAscending(squares([0, 0, 0]))]).toEqual([0, 0, 0]);
    expect([...lampAscending(squares([]))]).toEqual([]);
  });

  it("equals brute force", () => {
    const weights = Array.from({ length: 50 }, (_, i) => Math.round(Math.sin(i * 12.9) * 20) / 4);
    const brute = weights.map((w) => {
      let sum = 0;
      for (const v of weights) if (v * v >= w * w) sum += v * v;
      return sum === 0 ? 0 : (w * w) / sum;
    });
    const scores = lampAscending(squares(weights));
    for (const [i, value] of brute.sort((a, b) => a - b).entries()) expect(scores[i]).toBeCloseTo(value, 12);
  });
});
