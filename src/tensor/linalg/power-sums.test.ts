import { expect, it } from "vitest";
import { random } from "../random.ts";
import { crossSums, lineSums, runSums } from "./power-sums.ts";

const sizes = [
  [1, 1],
  [3, 7],
  [4, 8],
  [5, 6],
  [9, 13],
] as const;

it.each(sizes)("sums of %i lines of %i numbers, along and across, are those of brute force", (lines, n) => {
  const values = new Float32Array(lines * n);
  random(3, "sums").fillNormal(values);
  for (const p of [1, 2] as const) {
    const along = new Float64Array(lines);
    const across = new Float64Array(n);
    for (const [i, value] of values.entries()) {
      along[Math.floor(i / n)] = (along[Math.floor(i / n)] ?? 0) + Math.abs(value) ** p;
      across[i % n] = (across[i % n] ?? 0) + Math.abs(value) ** p;
    }
    for (const [i, sum] of lineSums(values, lines, p).entries()) expect(sum).toBeCloseTo(along[i] ?? 0, 12);
    for (const [i, sum] of crossSums(values, lines, p).entries()) expect(sum).toBeCloseTo(across[i] ?? 0, 12);
  }
});

it("sums of runs join neighbours", () => {
  expect([...runSums(Float64Array.of(1, 2, 3, 4, 5, 6), 3)]).toEqual([6, 15]);
  expect([...runSums(Float64Array.of(1, 2), 1)]).toEqual([1, 2]);
});
