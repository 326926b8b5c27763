import { describe, expect, it } from "vitest";
import { nearTies } from "./near-ties.ts";

const count = (scores: readonly number[], mask: readonly number[], sets = 1): number => {
  const group = { sets };
  return nearTies(new Map([[group, Float64Array.from(scores)]]), new Map([[group, Uint8Array.from(mask)]]));
};

describe("nearTies", () => {
  it("finds none where the border is wide", () => {
    expect(count([1, 2, 3, 4], [0, 0, 1, 1])).toBe(0);
  });

  it("counts both sides of a narrow border and nothing else", () => {
    expect(count([1, 2, 2 + 1e-6, 4], [0, 0, 1, 1])).toBe(2);
    expect(count([2, 2, 2, 4], [0, 0, 1, 1])).toBe(3);
  });

  it("is relative to the scores", () => {
    expect(count([1e-9, 2e-9], [0, 1])).toBe(0);
    expect(count([1e9, 1e9 + 1], [0, 1])).toBe(2);
  });

  it("looks for a border in each set", () => {
    expect(count([1, 2, 2, 9], [0, 1, 0, 1], 2)).toBe(0);
    expect(count([1, 2, 5, 5], [0, 1, 0, 1], 2)).toBe(2);
  });

  it("has no border where all or none is kept", () => {
    expect(count([1, 1], [1, 1])).toBe(0);
    expect(count([1, 1], [0, 0])).toBe(0);
  });
});
