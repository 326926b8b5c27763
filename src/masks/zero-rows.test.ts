import { describe, expect, it } from "vitest";
import type { FloatType } from "../tensor/dtype.ts";
import { fromFloats, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { keepNofM, smallestPerRow } from "../tensor/selection/select.ts";
import { type ColumnScores, type RowRule, zeroInRows } from "./zero-rows.ts";

const source = random(11, "rows");

/** What stays when every score is made and ranked apart. */
function expected(values: Float32Array, rows: number, { power, columns: scales }: ColumnScores, rule: RowRule) {
  const columns = scales.length;
  const scores = Float64Array.from(values, (w, i) => Math.abs(w) ** power * (scales[i % columns] ?? 0));
  const goes =
    "removed" in rule
      ? smallestPerRow(scores, rows, columns, rule.removed)
      : keepNofM(scores, rows, columns, rule.keep, rule.of).map((kept) => 1 - kept);
  return values.map((w, i) => (goes[i] === 1 ? 0 : w));
}

const rules: readonly RowRule[] = [
  ...[0, 1, 300, 599, 600].map((removed) => ({ removed })),
  ...[0, 2, 4].map((keep) => ({ keep, of: 4 })),
];

describe.each<FloatType>(["bf16", "f16", "f32", "f64"])("zeros in rows of %s", (dtype) => {
  it.each([1, 2] as const)("are where scores |w|^%i · s say, ties to the first", (power) => {
    const [rows, columns] = [3, 600];
    // Few different sizes, so that many are equal; some are 0, some beyond float32 once squared.
    const drawn = Float32Array.from({ length: rows * columns }, () => source.int(40) * (source.int(2) - 0.5));
    if (dtype !== "f16") drawn.fill(1e30, 5, 9);
    const values = toFloat32(fromFloats(dtype, [rows, columns], drawn));
    const scales = Float64Array.from({ length: columns }, () => source.int(5) / 4);
    for (const rule of rules) {
      const host = fromFloats(dtype, [rows, columns], values.slice());
      zeroInRows(host, rows, { power, columns: scales }, rule);
      // A zero that was there may have a sign.
      expect(toFloat32(host).map((w) => w + 0)).toEqual(
        expected(values, rows, { power, columns: scales }, rule).map((w) => w + 0),
      );
    }
  });
});

it.each<RowRule>([{ removed: 300 }, { removed: 450 }, { keep: 2, of: 4 }])(
  "scores that are the same as float32 go in the order of float64: %j",
  (rule) => {
    const values = Float32Array.from({ length: 600 }, () => source.int(3) - 1);
    // Too close for float32, and zeros of the other sign.
    const columns = Float64Array.from({ length: 600 }, (_, i) => (i % 5 === 0 ? -0 : 1 + source.int(1000) * 1e-12));
    const scored = { power: 1, columns } as const;
    const host = fromFloats("f32", [1, 600], values.slice());
    zeroInRows(host, 1, scored, rule);
    const rounded = { power: 1, columns: Float64Array.from(columns, Math.fround) } as const;
    const found = toFloat32(host).map((w) => w + 0);
    expect(found).toEqual(expected(values, 1, scored, rule).map((w) => w + 0));
    expect(found).not.toEqual(expected(values, 1, rounded, rule).map((w) => w + 0));
  },
);

it("planted fault: a scale of another column is seen", () => {
  const values = Float32Array.from({ length: 600 }, () => source.normal());
  const scales = Float64Array.from({ length: 600 }, () => Math.abs(source.normal()));
  const host = fromFloats("f32", [1, 600], values.slice());
  zeroInRows(host, 1, { power: 1, columns: scales.slice().reverse() }, { removed: 300 });
  expect(toFloat32(host)).not.toEqual(expected(values, 1, { power: 1, columns: scales }, { removed: 300 }));
});

it("scores that are no numbers are refused", () => {
  const host = fromFloats("f32", [2, 4], Float32Array.of(1, 2, 3, 4, 5, Number.NaN, 7, 8));
  const scores: ColumnScores = { power: 1, columns: new Float64Array(4).fill(1) };
  expect(() => zeroInRows(host, 2, scores, { removed: 2 })).toThrow("scores: expected numbers, got NaN at 5.");
  const endless: ColumnScores = { power: 1, columns: Float64Array.of(1, 1, Number.POSITIVE_INFINITY, 1) };
  const zeros = fromFloats("f32", [1, 4], Float32Array.of(1, 2, 0, 4));
  expect(() => zeroInRows(zeros, 1, endless, { keep: 2, of: 4 })).toThrow("scores: expected numbers, got NaN at 2.");
});
