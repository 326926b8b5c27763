import { describe, expect, it } from "vitest";
import { keptByImportance } from "./by-importance.ts";

const importance = [0.31, 0.12, 0.05, 0.07, 0.22];
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

describe.each([0, 0.1, 0.5, 0.65, 0.8, 0.95, 1])("where %d stays", (kept) => {
  it.each([0.3, 1, 4])(
    "all keep it on average, the more important the more, none all of it: strength %d",
    (strength) => {
      const shares = keptByImportance(importance, kept, strength);
      expect(mean(shares)).toBeCloseTo(kept, 12);
      const order = [...importance.keys()].sort((a, b) => (importance[a] ?? 0) - (importance[b] ?? 0));
      for (const [i, part] of order.entries()) {
        const share = shares[part] ?? Number.NaN;
        expect(share).toBeGreaterThanOrEqual(-1e-12);
        expect(share).toBeLessThanOrEqual(kept + (1 - kept) / 1.05 + 1e-12 || 1);
        if (i > 0) expect(share).toBeGreaterThanOrEqual((shares[order[i - 1] ?? 0] ?? Number.NaN) - 1e-12);
      }
    },
  );

  it("parts that are alike keep the same, and strength 0 knows no differences", () => {
    for (const share of [...keptByImportance([0.2, 0.2, 0.2], kept), ...keptByImportance(importance, kept, 0)])
      expect(share).toBeCloseTo(kept, 12);
  });
});

it("is the authors' formula, by hand", () => {
  // Sums over 128 · 1024 tokens, divided by 10⁴.
  const z = importance.map((own) => ((own - mean(importance)) * 128 * 1024) / 1e4);
  const s = z.map((value) => 1 / (1 + Math.exp(-value)));
  for (const [i, share] of keptByImportance(importance, 0.5).entries())
    expect(share).toBeCloseTo(((s[i] ?? 0) / mean(s)) * 0.5, 2);
  // 0.8 is cut off: the authors' f makes the largest 0.8 + 0.2 / 1.05.
  expect(Math.max(...keptByImportance(importance, 0.9, 1))).toBeCloseTo(0.9 + 0.1 / 1.05, 12);
});
