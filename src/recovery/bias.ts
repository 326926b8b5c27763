import { canShift, readMatrix, shiftOutput } from "../criteria/parameters.ts";
import { layersOf } from "../stats/layers.ts";
import { collect } from "../stats/taps/taps.ts";
import { formOf } from "../stats/taps/unfold.ts";
import { EspalierError } from "../tensor/error.ts";
import type { Recovery } from "./recovery.ts";
import { lost } from "./tour.ts";

/**
 * Adds to each matrix that lost inputs or weights what these gave on average: E[x]·W_removed, from the original's calibration
 * means, windows at the border included. Exact where the inputs of what was removed are constant.
 */
export function biasCompensation(): Recovery {
  return {
    id: "bias",
    needsData: true,
    restores: true,
    foldsConstants: true,
    check: async ({ original, fixedParameters = false }) => {
      if (!fixedParameters || layersOf(original).some(({ matrix }) => canShift(original.graph, matrix))) return;
      const message = "expected a model with biases, or one whose file has a place for them, got none.";
      throw new EspalierError("request", "recovery bias", message, "Repair by lsq, norm or distill.");
    },
    apply: async (context) => {
      const { fixedParameters = false } = context;
      const { runtime, original, kept, pruned, calibration, batchSize, job } = context;
      if (calibration === null) {
        const hint = "Give unlabelled inputs with --calib, or --calib random for made-up ones.";
        throw new EspalierError("request", "recovery bias", "expected calibration inputs, got none.", hint);
      }
      const layers = layersOf(original).filter((layer) => layer.matrix.groups === 1 && lost(context, layer));
      const matrices = layers.map(({ matrix }) => matrix);
      const measured = await collect(runtime, original, matrices, ["columnMean"], calibration, { ...job, batchSize });
      let graph = pruned;
      for (const { matrix, input, output, axis, outputType } of layers) {
        const mean = measured.get(matrix)?.columnMean;
        const mask = kept.mask(input, matrix.data?.axis ?? 0);
        if (mean === undefined || formOf(matrix) === null) continue;
        if (fixedParameters && !canShift(graph, matrix)) continue;
        const weights = await readMatrix(original.graph, matrix);
        const { columns } = matrix;
        if (mask === null) keepZeroed(weights, await readMatrix(pruned, matrix));
        else keepCut(weights, mask, columns);
        const rows = kept.positions(output, axis) ?? Int32Array.from({ length: matrix.rows }, (_, r) => r);
        const amount = Float64Array.from(rows, (r) => {
          let sum = 0;
          for (let c = 0; c < columns; c++) sum += (weights[r * columns + c] ?? 0) * (mean[c] ?? 0);
          return sum;
        });
        graph = await shiftOutput(graph, matrix, outputType, amount);
      }
      return graph;
    },
  };
}

/** Zeros the weights of inputs that are still there. */
function keepCut(weights: Float64Array, mask: Uint8Array, columns: number): void {
  const positions = columns / mask.length;
  for (let i = 0; i < weights.length; i++) if (mask[Math.floor((i % columns) / positions)] === 1) weights[i] = 0;
}

/** Zeros the weights that are still there. */
function keepZeroed(weights: Float64Array, now: Float64Array): void {
  for (let i = 0; i < weights.length; i++) if (now[i] !== 0) weights[i] = 0;
}
