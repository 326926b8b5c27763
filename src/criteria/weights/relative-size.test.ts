import { expect, it } from "vitest";
import type { WeightView } from "../criterion.ts";
import { inputNorm } from "../inputs/input-norm.ts";
import { product } from "../product.ts";
import { relativeSize } from "./relative-size.ts";

const view = (values: readonly number[], rows: number): WeightView => ({
  ...{ matrix: null, parameter: "w", shape: [rows, values.length / rows], rows, columns: values.length / rows },
  ...{ firstRow: 0, totalRows: rows, role: null, positions: 1, values: Float32Array.from(values) },
});

const w = [1, -3, 0, 0, 5, 5, 0, 0, 0];

it("is the share of the row, whatever the size of the row", () => {
  const shares = [0.25, 0.75, 0, 0, 0.5, 0.5, 0, 0, 0];
  expect([...(relativeSize().elements?.(view(w, 3), {}) ?? [])]).toEqual(shares);
  const grown = w.map((value, i) => (i < 3 ? 1000 * value : value));
  expect([...(relativeSize().elements?.(view(grown, 3), {}) ?? [])]).toEqual(shares);
});

it("of units it is the sum over outputs, times how strongly they fire", () => {
  const by = product(relativeSize(), inputNorm());
  const inputMeanSquare = Float64Array.of(4, 1, 9);
  expect([...(by.features(view(w, 3), "input", { inputMeanSquare }) ?? [])]).toEqual([0.5, 1.25, 1.5]);
});
