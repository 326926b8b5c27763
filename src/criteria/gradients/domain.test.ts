import { describe, expect, it } from "vitest";
import { layerProblem } from "../../../test/layer-problems.ts";
import type { Matrix } from "../../coupling/matrices.ts";
import { factorise, inverse } from "../../tensor/linalg/cholesky.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { noStatistics } from "../criterion.ts";
import { obsSequential } from "../inputs/obs-sequential.ts";
import { rankMix } from "../rank-mix.ts";
import { asParameter, matrixView } from "../weight-view.ts";
import { magnitude } from "../weights/magnitude.ts";
import { alignment } from "./alignment.ts";
import { fisher } from "./curvature.ts";

function matrixOf(rows: number, columns: number, outputsFirst = true): Matrix {
  return {
    node: { name: "n", domain: "", op: "x", inputs: [], outputs: [], attributes: new Map() },
    parameter: "w",
    shape: outputsFirst ? [rows, columns] : [columns, rows],
    outputs: [outputsFirst ? 0 : 1],
    inputs: [outputsFirst ? 1 : 0],
    rows,
    columns,
    groups: 1,
    data: { value: "x", axis: 1 },
  };
}

const drawn = (label: string, count: number, positive = false): Float32Array => {
  const values = new Float32Array(count);
  random(3, label).fillNormal(values);
  return positive ? values.map((value) => value * value) : values;
};

describe("the importance to a domain beyond the general", () => {
  const [rows, columns] = [5, 7];
  const count = rows * columns;
  const statistics = {
    ...noStatistics,
    gradient: drawn("g", count),
    gradientSquare: drawn("f", count, true),
    generalGradient: drawn("gg", count),
    generalGradientSquare: drawn("gf", count, true),
  };
  const view = matrixView(matrixOf(rows, columns), float32Tensor([rows, columns], drawn("w", count)));

  /** The definition, weight by weight. */
  const byHand = (scaled: boolean, against: number, size: number) => {
    const length = (values: Float32Array) => Math.hypot(...values);
    const mean = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0) / count;
    const at = (values: Float32Array, r: number, c: number) =>
      r < 0 || c < 0 || r >= rows || c >= columns ? 0 : (values[r * columns + c] ?? 0);
    const { gradient: g, generalGradient: h, gradientSquare: f, generalGradientSquare: e } = statistics;
    return Array.from({ length: count }, (_, i) => {
      const [r, c] = [Math.floor(i / columns), i % columns];
      let a = 0;
      for (const dr of [-1, 0, 1]) {
        for (const dc of [-1, 0, 1]) a += (at(g, r + dr, c + dc) * at(h, r + dr, c + dc)) / (9 * length(g) * length(h));
      }
      const m = Math.abs(view.values[i] ?? 0);
      const [own, other] = scaled ? [(f[i] ?? 0) / mean(f), (e[i] ?? 0) / mean(e)] : [f[i] ?? 0, e[i] ?? 0];
      const factor = Math.min(1.2, Math.max(0.8, 1 + 0.2 * a * (scaled ? count : 1)));
      return (own - against * other) * m * factor + size * Math.sqrt(m + 1e-8);
    });
  };

  it.each([
    [true, 1, 0.5],
    [false, 1, 0.5],
    [true, 0.3, 0.1],
  ])("is that of the definition: scaled %s, against %d, size %d", (scaled, against, size) => {
    const found = alignment({ scaled, against, size }).elements?.(view, statistics) ?? [];
    const expected = byHand(scaled, against, size);
    for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 5);
    const other = byHand(scaled, against + 0.1, size);
    expect(other.some((value, i) => Math.abs(value - (found[i] ?? 0)) > 0.01)).toBe(true);
  });

  it("as published orders weights by their size where Fisher numbers are as small as those of models", () => {
    const small = {
      ...statistics,
      gradientSquare: statistics.gradientSquare.map((f) => 1e-7 * f),
      generalGradientSquare: statistics.generalGradientSquare.map((f) => 1e-7 * f),
    };
    const order = (scores: ArrayLike<number>) =>
      Array.from(scores, (_, i) => i).sort((a, b) => (scores[a] ?? 0) - (scores[b] ?? 0));
    const bySize = order(view.values.map(Math.abs));
    expect(order(alignment({ scaled: false }).elements?.(view, small) ?? [])).toEqual(bySize);
    expect(order(alignment().elements?.(view, small) ?? [])).not.toEqual(bySize);
  });

  it("counts general data where a criterion is told to", () => {
    const own = fisher().elements?.(view, statistics) ?? [];
    const general = fisher("generalGradientSquare").elements?.(view, statistics) ?? [];
    for (const [i, w] of view.values.entries()) {
      expect(general[i]).toBeCloseTo((w * w * (statistics.generalGradientSquare[i] ?? 0)) / 2, 6);
    }
    expect(general).not.toEqual(own);
    expect(fisher("generalGradientSquare").needs).toEqual(["generalGradientSquare"]);
  });

  it("mixes ranks by a share", () => {
    const [a, b] = [magnitude(1), fisher()];
    const ranks = (scores: ArrayLike<number>) =>
      Array.from(scores, (s) => Array.from(scores).filter((t) => t < s).length);
    const [first, second] = [ranks(a.elements?.(view, statistics) ?? []), ranks(b.elements?.(view, statistics) ?? [])];
    for (const share of [0, 0.3, 1]) {
      const found = rankMix(a, b, share).elements?.(view, statistics) ?? [];
      for (const [i, rank] of first.entries())
        expect(found[i]).toBeCloseTo((1 - share) * rank + share * (second[i] ?? 0), 9);
    }
    expect(first).not.toEqual(second);
  });
});

describe("the cost of a weight for which the columns behind it make up", () => {
  const p = layerProblem(3, 9);
  const view = matrixView(matrixOf(3, 9), float32Tensor([3, 9], Float32Array.from(p.weights)));

  it("is that of the least squares over these columns", () => {
    const scores = obsSequential("generalGram", 0).elements?.(view, { generalGram: [p.gram] }) ?? [];
    for (let r = 0; r < 3; r++) {
      for (let j = 0; j < 9; j++) {
        // H of the columns from j on: the weight's error is w² / [H⁻¹]₀₀.
        const size = 9 - j;
        const rest = Float64Array.from(
          { length: size * size },
          (_, i) => p.gram[(j + Math.floor(i / size)) * 9 + j + (i % size)] ?? 0,
        );
        const [corner = 1] = inverse(factorise(rest, size, { damping: 0 }));
        const w = view.values[r * 9 + j] ?? 0;
        expect((scores[r * 9 + j] ?? 0) / ((w * w) / corner)).toBeCloseTo(1, 6);
      }
    }
    const own = obsSequential("gram", 0).elements?.(view, { gram: [p.gram.map((x, i) => (i % 10 === 0 ? 2 * x : x))] });
    expect(own?.[0]).not.toBeCloseTo(scores[0] ?? 0, 3);
  });
});

it("numbers of a matrix go back into the layout of their parameter", () => {
  const matrix = matrixOf(2, 3, false);
  const tensor = float32Tensor([3, 2], Float32Array.of(1, 2, 3, 4, 5, 6));
  const { values } = matrixView(matrix, tensor);
  expect([...values]).toEqual([1, 3, 5, 2, 4, 6]);
  expect(asParameter(matrix, values)).toEqual(tensor);
});
