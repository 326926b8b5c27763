import type { Matrix } from "../coupling/matrices.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Analysis } from "../models/analysis.ts";
import { windowAttributes } from "../ops/linear.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Job } from "../tensor/progress.ts";
import { collect, type Measurement, type Need } from "./taps.ts";
import { formOf } from "./unfold.ts";

/**
 * Statistics of the inputs of matrices over a data set, as criteria read them. Matrices that multiply the same columns,
 * as the projections of an attention do, are measured once and share the result. A matrix where something that was asked
 * for cannot be measured, such as one that multiplies a recurrent state, is absent.
 */
export async function collectStatistics(
  runtime: Runtime,
  analysis: Analysis,
  matrices: readonly Matrix[],
  needs: readonly Need[],
  data: Dataset,
  options: Job & { readonly batchSize: number },
): Promise<ReadonlyMap<Matrix, Omit<Measurement, "moments">>> {
  if (needs.length === 0) return new Map();
  const alike = new Map<string, { readonly first: Matrix; readonly all: Matrix[] }>();
  for (const matrix of matrices) {
    const key = columnsOf(matrix);
    const same = alike.get(key);
    if (same === undefined) alike.set(key, { first: matrix, all: [matrix] });
    else same.all.push(matrix);
  }
  const firsts = [...alike.values()].map(({ first }) => first);
  const measured = await collect(runtime, analysis, firsts, needs, data, options);
  const collected = new Map<Matrix, Omit<Measurement, "moments">>();
  for (const { first, all } of alike.values()) {
    const found = measured.get(first);
    if (found === undefined || needs.some((need) => found[need] === undefined)) continue;
    const { moments: _, ...statistics } = found;
    for (const matrix of all) collected.set(matrix, statistics);
  }
  return collected;
}

/** The same text for matrices whose columns multiply the same numbers. */
function columnsOf(matrix: Matrix): string {
  const { data, inputs, shape, groups, columns, node } = matrix;
  const window =
    formOf(matrix)?.window === true ? [...windowAttributes(node)].sort(([a], [b]) => (a < b ? -1 : 1)) : [];
  const form = formOf(matrix) === null ? node.op : "";
  return JSON.stringify([data, groups, columns, inputs.slice(1).map((axis) => shape[axis]), form, window]);
}
