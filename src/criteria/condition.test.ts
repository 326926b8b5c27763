import { expect, it } from "vitest";
import { svd } from "../tensor/linalg/eigen.ts";
import { gram, transposed } from "../tensor/linalg/matrix.ts";
import { random } from "../tensor/random.ts";
import { condition } from "./condition.ts";
import type { WeightView } from "./criterion.ts";

function noise(label: string, length: number): Float32Array {
  const values = new Float32Array(length);
  random(0, label).fillNormal(values);
  return values;
}

const view = (values: Float32Array, rows: number, positions = 1): WeightView => ({
  ...{ matrix: null, parameter: "w", shape: [rows, values.length / rows], rows, columns: values.length / rows },
  ...{ firstRow: 0, totalRows: rows, role: null, positions, values },
});

it.each([
  [3, 5],
  [8, 5],
])("is the bound, by singular values: %d outputs, %d inputs", (rows, n) => {
  const tokens = 30;
  const x = Float64Array.from(noise("x", tokens * n));
  const w = noise("w", rows * n);
  const scores = condition().features(view(w, rows), "input", { gram: [gram(x, tokens, n).map((v) => v / tokens)] });
  const kappa = (a: Float64Array, m: number, k: number): number => {
    const { values } = svd(a, m, k);
    return (values[0] ?? 0) / (values.at(-1) ?? 1);
  };
  const norm = (values: Float64Array): number => Math.hypot(...values);
  const [columnsOfX, columnsOfW] = [transposed(x, tokens, n), transposed(Float64Array.from(w), rows, n)];
  for (const [j, score] of (scores ?? []).entries()) {
    const [xj, wj] = [columnsOfX.subarray(j * tokens, (j + 1) * tokens), columnsOfW.subarray(j * rows, (j + 1) * rows)];
    const bound =
      (kappa(Float64Array.from(w), rows, n) * norm(xj)) / norm(x) +
      (kappa(x, tokens, n) * norm(wj)) / norm(Float64Array.from(w));
    expect(score / bound).toBeCloseTo(1, 6);
  }
  expect(scores).toHaveLength(n);
});

it("directions that nothing goes in do not count, and the unit of neither weights nor inputs does", () => {
  const w = noise("w", 12);
  const g = gram(Float64Array.from(noise("x", 80)), 20, 4);
  const dead = g.map((value, i) => (i % 4 === 1 || Math.floor(i / 4) === 1 ? 0 : value));
  const scores = condition().features(view(w, 3), "input", { gram: [dead] }) ?? new Float64Array(0);
  for (const score of scores) expect(score).toBeLessThan(100);
  const scaled = condition().features(
    view(
      w.map((v) => 7 * v),
      3,
    ),
    "input",
    { gram: [dead.map((v) => 100 * v)] },
  );
  for (const [j, score] of (scaled ?? []).entries()) expect(score).toBeCloseTo(scores[j] ?? 0, 4);
});

it("balanced, both terms are 1 on average; rows and groups that are apart have none", () => {
  const g = gram(Float64Array.from(noise("x", 80)), 20, 4);
  const scores = condition("balanced").features(view(noise("w", 12), 3), "input", { gram: [g] });
  expect((scores ?? new Float64Array(0)).reduce((sum, score) => sum + score, 0) / 4).toBeCloseTo(2, 9);
  expect(condition().features(view(noise("w", 12), 3), "output", { gram: [g] })).toBeNull();
  expect(condition().features(view(noise("w", 12), 3), "input", { gram: [g, g] })).toBeNull();
  // Positions of a kernel are one feature.
  expect(condition().features(view(noise("w", 12), 3, 2), "input", { gram: [g] })).toHaveLength(2);
});
