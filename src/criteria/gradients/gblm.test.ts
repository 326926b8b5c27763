import { expect, it } from "vitest";
import { random } from "../../tensor/random.ts";
import { type MatrixStatistics, noStatistics, type WeightView } from "../criterion.ts";
import { wanda } from "../inputs/wanda.ts";
import { gblm } from "./gblm.ts";

const [rows, columns] = [5, 7];
const drawn = (label: string): Float32Array => {
  const values = new Float32Array(rows * columns);
  random(0, label).fillNormal(values);
  return values;
};
const values = drawn("weights");
const weight: WeightView = {
  ...{ matrix: null, parameter: "w", shape: [rows, columns], rows, columns },
  ...{ firstRow: 0, totalRows: rows, role: null, positions: 1, values },
};
const statistics: MatrixStatistics = {
  ...noStatistics,
  inputMeanSquare: Float64Array.from({ length: columns }, (_, j) => 0.1 * (j + 1) ** 2),
  gradientSquare: drawn("squares").map((g) => 1e-4 * g * g),
  gradientMagnitude: drawn("sizes").map((g) => 1e-2 * Math.abs(g)),
};
const scoresOf = (options: Parameters<typeof gblm>[0]) => [...(gblm(options).elements?.(weight, statistics) ?? [])];

it.each(["squares", "sizes"] as const)("is the weight times input and gradient: %s", (gradients) => {
  for (const [i, score] of scoresOf({ alpha: 3, gradients }).entries()) {
    const norm = Math.sqrt(statistics.inputMeanSquare[i % columns] ?? 0);
    const slope =
      gradients === "squares" ? Math.sqrt(statistics.gradientSquare[i] ?? 0) : (statistics.gradientMagnitude[i] ?? 0);
    expect(score).toBeCloseTo(Math.abs(values[i] ?? 0) * (norm + 3 * slope), 6);
  }
  expect(gblm({ gradients }).needs).toContain(gradients === "squares" ? "gradientSquare" : "gradientMagnitude");
});

it("at α = 0 is Wanda, and not at 25", () => {
  const plain = [...(wanda().elements?.(weight, statistics) ?? [])];
  expect(scoresOf({ alpha: 0 })).toEqual(plain);
  expect(scoresOf({})).not.toEqual(plain);
});

it("matched, gradients count as much as inputs whatever their unit", () => {
  const matched = scoresOf({ alpha: "matched" });
  const other = { ...statistics, gradientSquare: statistics.gradientSquare.map((g) => 1e6 * g) };
  for (const [i, score] of (gblm({ alpha: "matched" }).elements?.(weight, other) ?? []).entries())
    expect(score / (matched[i] ?? 0)).toBeCloseTo(1, 5);
  const none = { ...statistics, gradientSquare: statistics.gradientSquare.map(() => 0) };
  expect([...(gblm({ alpha: "matched" }).elements?.(weight, none) ?? [])]).toEqual(scoresOf({ alpha: 0 }));
});
