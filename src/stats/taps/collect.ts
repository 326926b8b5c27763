import type { Matrix } from "../../coupling/matrices.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Analysis } from "../../models/analysis.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Job } from "../../tensor/progress.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { sameInputs } from "./same-inputs.ts";
import type { Measurement, Need } from "./tap-matrices.ts";
import { collect } from "./taps.ts";

/** Bytes that the unfolded windows of one batch may take; the runtime holds a few times as much for a moment. */
const WINDOW_BYTES = 1 << 28;

/**
 * Statistics of the inputs of matrices over a data set, as criteria read them. Matrices that multiply the same columns,
 * as the projections of an attention do, are measured once and share the result. A matrix where something that was asked
 * for cannot be measured, such as one that multiplies a recurrent state, is absent. Batches are smaller
 * than asked where the windows of a convolution would take too much memory.
 */
export async function collectStatistics(
  runtime: Runtime,
  analysis: Analysis,
  matrices: readonly Matrix[],
  needs: readonly Need[],
  data: Dataset,
  options: Job & { readonly batchSize: number },
): Promise<ReadonlyMap<Matrix, Measurement>> {
  if (needs.length === 0) return new Map();
  const alike = sameInputs(matrices);
  const byBatch = new Map<number, Matrix[]>();
  for (const { first } of alike) {
    const batch = batchFor(analysis, first, options.batchSize);
    byBatch.set(batch, [...(byBatch.get(batch) ?? []), first]);
  }
  const collected = new Map<Matrix, Measurement>();
  for (const [batchSize, firsts] of byBatch) {
    const measured = await collect(runtime, analysis, firsts, needs, data, { ...options, batchSize });
    for (const { first, all } of alike) {
      const own = measured.get(first);
      if (own === undefined) continue;
      if (needs.some((need) => own[need] === undefined)) continue;
      for (const matrix of all) collected.set(matrix, own);
    }
  }
  return collected;
}

/** The largest batch, halved as often as needed, whose unfolded windows fit. */
function batchFor({ facts, samples }: Analysis, { data, shape, inputs, columns }: Matrix, asked: number): number {
  const positions = columns / (shape[inputs[0] ?? 0] ?? 1);
  if (data === null || positions === 1) return asked;
  const bytes = (sizeOf(facts.types.get(data.value)?.shape ?? []) / samples) * positions * 4;
  let batch = asked;
  while (batch > 1 && batch * bytes > WINDOW_BYTES) batch = Math.ceil(batch / 2);
  return batch;
}
