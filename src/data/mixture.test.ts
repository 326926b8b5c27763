import { describe, expect, it } from "vitest";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import type { IndexedDataset } from "./dataset.ts";
import { fromTensors } from "./from-tensors.ts";
import { balanced, mixture } from "./mixture.ts";

/** Samples [first + i], of class i mod 3. */
function numbered(count: number, first: number): IndexedDataset {
  const values = Float32Array.from({ length: count }, (_, i) => first + i);
  const labels = Array.from({ length: count }, (_, i) => i % 3);
  return fromTensors({ x: float32Tensor([count, 1], values) }, labels, `from ${first}`);
}

async function valuesOf(dataset: IndexedDataset): Promise<readonly (readonly [value: number, label: number])[]> {
  const found: [number, number][] = [];
  for await (const { inputs, labels } of dataset.batches(7)) {
    for (const [i, value] of toFloat32(inputs.get("x") ?? expect.fail("no x")).entries()) {
      found.push([value, labels?.[i] ?? -1]);
    }
  }
  return found;
}

describe("a mixture", () => {
  const parts = [
    { data: numbered(50, 0), weight: 3 },
    { data: numbered(8, 100), weight: 1 },
  ];

  it("takes the asked share of each source, without repeating one that suffices", async () => {
    const found = (await valuesOf(mixture(parts, 60, 1))).map(([value]) => value);
    expect(found.length).toBe(60);
    const [first, second] = [found.filter((v) => v < 100), found.filter((v) => v >= 100)];
    expect([first.length, new Set(first).size]).toEqual([45, 45]);
    // 15 of 8: all of them once before any of them twice.
    expect([second.length, new Set(second).size]).toEqual([15, 8]);
    for (let k = 100; k < 108; k++) expect(second.filter((v) => v === k).length).toBeLessThanOrEqual(2);
    expect(found.slice(0, 20).some((v) => v >= 100)).toBe(true);
  });

  it("is decided by its seed, and labels stay with their samples", async () => {
    const one = await valuesOf(mixture(parts, 40, 1));
    expect(await valuesOf(mixture(parts, 40, 1))).toEqual(one);
    expect(await valuesOf(mixture(parts, 40, 2))).not.toEqual(one);
    for (const [value, label] of one) expect(label).toBe((value % 100) % 3);
  });

  it("refuses weights and counts that are none", () => {
    for (const weight of [-1, Number.NaN, 0]) {
      expect(() => mixture([{ data: numbered(3, 0), weight }], 3, 0)).toThrow("expected weights from 0, not all 0");
    }
    expect(() => mixture(parts, 0, 0)).toThrow("a count from 1");
  });
});

describe("a balanced subset", () => {
  it("has every class equally often, different samples, labels with them", async () => {
    const found = await valuesOf(await balanced(numbered(50, 0), 5, 3));
    for (const label of [0, 1, 2]) expect(found.filter(([, own]) => own === label).length).toBe(5);
    expect(new Set(found.map(([value]) => value)).size).toBe(15);
    for (const [value, label] of found) expect(value % 3).toBe(label);
    expect(found.map(([, label]) => label)).not.toEqual([...found.map(([, label]) => label)].sort());
    expect(await valuesOf(await balanced(numbered(50, 0), 5, 4))).not.toEqual(found);
  });

  it("says which class is too small, and asks for labels", async () => {
    await expect(balanced(numbered(50, 0), 17, 0)).rejects.toThrow(
      "expected 17 samples of every class, got 16 of class 2",
    );
    const bare = fromTensors({ x: float32Tensor([2, 1], new Float32Array(2)) });
    await expect(balanced(bare, 1, 0)).rejects.toThrow("expected labels, got none");
  });
});
