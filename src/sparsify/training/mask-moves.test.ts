import { describe, expect, it } from "vitest";
import { random } from "../../tensor/random.ts";
import { type MaskedLayer, prunedMasks, randomMasks, regrownMask } from "./mask-moves.ts";

const layer = (name: string, weights: number[], mask?: number[]): MaskedLayer => ({
  name,
  shape: [1, weights.length],
  weights: Float32Array.from(weights),
  mask: Uint8Array.from(mask ?? weights.map(() => 1)),
});

const two = [layer("a", [1, -2, 3, 0.5]), layer("b", [0.1, 0.2, -0.3, 0.4])];
const bits = (masks: ReadonlyMap<string, Uint8Array>) => [...masks.values()].map((mask) => [...mask].join(""));
const count = (mask: Uint8Array) => mask.reduce((sum, bit) => sum + bit, 0);

describe("pruned masks", () => {
  it("rank all layers together, or each alone, or by LAMP", () => {
    expect(bits(prunedMasks(two, 0.5, "global"))).toEqual(["1111", "0000"]);
    expect(bits(prunedMasks(two, 0.5, "uniform"))).toEqual(["0110", "0011"]);
    // LAMP: a .0714 .3077 1 .0175; b .0333 .1379 .36 1.
    expect(bits(prunedMasks(two, 0.5, "lamp"))).toEqual(["0110", "0011"]);
    expect(bits(prunedMasks(two, 0.25, "lamp"))).toEqual(["1110", "0111"]);
  });

  it("never bring back what is dead, and meet the count", () => {
    const dead = [layer("a", [9, 1, 2, 3], [0, 1, 1, 1]), layer("b", [5, 6, 7, 8])];
    expect(bits(prunedMasks(dead, 0.25, "global"))).toEqual(["0011", "1111"]);
    for (const scope of ["global", "uniform", "lamp"] as const)
      expect(prunedMasks(dead, 0.5, scope).get("a")?.[0]).toBe(0);
  });

  it("have the densities of ERK at random places", () => {
    const shapes = { c1: [6, 1, 5, 5], c2: [16, 6, 5, 5], f1: [120, 256], f2: [84, 120], f3: [10, 84] };
    const layers = Object.entries(shapes).map(([name, shape]) => ({ name, shape }));
    const masks = randomMasks(layers, 0.9, "erk", random(1, "masks"));
    for (const [i, density] of [0.6927, 0.0815, 0.0748, 0.1237, 0.684].entries()) {
      const mask = [...masks.values()][i] ?? expect.fail();
      expect(Math.abs(count(mask) / mask.length - density)).toBeLessThan(0.5 / mask.length + 1e-4);
    }
    expect(bits(randomMasks(layers, 0.9, "erk", random(2, "masks")))).not.toEqual(bits(masks));
  });
});

describe("regrown masks", () => {
  const some = layer("a", [5, 1, 4, 0, 0, 0], [1, 1, 1, 0, 0, 0]);

  it("drop the smallest and grow where the gradient is largest", () => {
    const growth = Float32Array.of(100, 0.1, 100, -3, 2, 1);
    expect([...regrownMask(some, 0.34, growth)].join("")).toBe("101100");
    expect([...regrownMask(some, 0.67, growth)].join("")).toBe("101100");
  });

  it("let what was dropped win again", () => {
    expect([...regrownMask(some, 0.34, Float32Array.of(0, 9, 0, 1, 1, 1))].join("")).toBe("111000");
  });

  it("grow at random among what was dead before", () => {
    for (let seed = 0; seed < 20; seed++) {
      const next = regrownMask(some, 0.34, random(seed, "grow"));
      expect(count(next)).toBe(3);
      expect(next[1]).toBe(0);
    }
  });

  it("keep the density whatever the share", () => {
    for (const share of [0, 0.2, 0.5, 1])
      for (const growth of [Float32Array.of(1, 2, 3, 4, 5, 6), random(3, "grow")])
        expect(count(regrownMask(some, share, growth))).toBe(3);
  });

  it("a growth that ignores the gradient is caught", () => {
    const flat = regrownMask(some, 0.34, new Float32Array(6));
    expect([...flat].join("")).not.toBe("101100");
  });
});
