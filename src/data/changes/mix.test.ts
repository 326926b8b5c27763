import { describe, expect, it } from "vitest";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { tensor } from "../../tensor/tensor.ts";
import type { Batch } from "../dataset.ts";
import { mix } from "./mix.ts";

const count = 64;

/** Sample i holds i and i² in one input, and -i in another. */
const batch: Batch = {
  count,
  inputs: new Map([
    [
      "a",
      float32Tensor(
        [count, 2],
        Float32Array.from({ length: 2 * count }, (_, i) => (i >> 1) ** (1 + (i & 1))),
      ),
    ],
    [
      "b",
      float32Tensor(
        [count, 1],
        Float32Array.from({ length: count }, (_, i) => -i),
      ),
    ],
  ]),
};

describe("mix", () => {
  it("lays one other sample over each, by the same share in every input", () => {
    const made = mix(0.5)(batch, random(3)).inputs;
    const [a, b] = ["a", "b"].map((name) => toFloat32(made.get(name) ?? expect.fail(name)));
    const shares: number[] = [];
    for (let i = 0; i < count; i++) {
      const [x, square] = [a?.[2 * i] ?? 0, a?.[2 * i + 1] ?? 0];
      expect(b?.[i]).toBeCloseTo(-x, 4);
      if (Math.abs(x - i) < 1e-6) continue;
      // x = i + s(j - i) and square = i² + s(j² - i²), so that the other sample is known from both.
      const other = (square - i * i) / (x - i) - i;
      expect(Math.abs(other - Math.round(other))).toBeLessThan(1e-2);
      shares.push((x - i) / (Math.round(other) - i));
    }
    expect(shares.length).toBeGreaterThan(55);
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...shares)).toBeLessThanOrEqual(0.5001);
    expect(Math.max(...shares) - Math.min(...shares)).toBeGreaterThan(0.4);
  });

  it("is decided by its stream, leaves the batch as it was, and does nothing at 0", () => {
    const before = [...toFloat32(batch.inputs.get("a") ?? expect.fail())];
    const of = (most: number, seed: number) => [
      ...toFloat32(mix(most)(batch, random(seed)).inputs.get("a") ?? expect.fail()),
    ];
    expect(of(0.5, 1)).toEqual(of(0.5, 1));
    expect(of(0.5, 1)).not.toEqual(of(0.5, 2));
    expect(of(0, 1)).toEqual(before);
    expect([...toFloat32(batch.inputs.get("a") ?? expect.fail())]).toEqual(before);
  });

  it("rounds bytes, and refuses what cannot be mixed", () => {
    const bytes: Batch = { count: 2, inputs: new Map([["p", tensor("u8", [2, 1], Uint8Array.of(0, 255))]]) };
    const pairs = [0, 1, 2, 3, 4, 5].map((seed) => mix(1)(bytes, random(seed)).inputs.get("p")?.bytes ?? expect.fail());
    expect(pairs.some(([low = 0]) => low > 0 && low < 255)).toBe(true);
    const tokens: Batch = { count: 2, inputs: new Map([["t", tensor("i64", [2, 1])]]) };
    expect(() => mix(0.5)(tokens, random(0))).toThrow("expected bytes or floats to mix, got i64 [2, 1]");
    expect(() => mix(1.5)).toThrow("expected a share, 0 to 1, got 1.5");
  });
});
