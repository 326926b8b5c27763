import type { Matrix } from "../../coupling/matrices.ts";
import { windowAttributes } from "../../ops/linear.ts";
import { formOf } from "./unfold.ts";

/** Matrices that multiply the same columns: what is measured of the first holds for all. */
export interface SameInputs {
  readonly first: Matrix;
  readonly all: readonly Matrix[];
}

/** Puts matrices together that multiply the same columns, as the projections of an attention do, in their order. */
export function sameInputs(matrices: readonly Matrix[]): readonly SameInputs[] {
  const alike = new Map<string, { readonly first: Matrix; readonly all: Matrix[] }>();
  for (const matrix of matrices) {
    const key = columnsOf(matrix);
    const same = alike.get(key);
    if (same === undefined) alike.set(key, { first: matrix, all: [matrix] });
    else same.all.push(matrix);
  }
  return [...alike.values()];
}

/** The same text for matrices whose columns multiply the same numbers. */
function columnsOf(matrix: Matrix): string {
  const { data, inputs, shape, groups, columns, node } = matrix;
  const window =
    formOf(matrix)?.window === true ? [...windowAttributes(node)].sort(([a], [b]) => (a < b ? -1 : 1)) : [];
  const form = formOf(matrix) === null ? node.op : "";
  return JSON.stringify([data, groups, columns, inputs.slice(1).map((axis) => shape[axis]), form, window]);
}
