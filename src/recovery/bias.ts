import { readMatrix, shiftOutput } from "../criteria/parameters.ts";
import { layersOf } from "../stats/layers.ts";
import { collect } from "../stats/taps/taps.ts";
import { formOf } from "../stats/taps/unfold.ts";
import { EspalierError } from "../tensor/error.ts";
import type { Recovery } from "./recovery.ts";

/**
 * Adds to each matrix that lost inputs what they gave on average: E[x_removed]·W_removed, from the original's calibration
 * means, windows at the border included. Exact where the removed inputs are constant.
 */
export function biasCompensation(): Recovery {
  return {
    id: "bias",
    needsData: true,
    foldsConstants: true,
    apply: async ({ runtime, original, kept, pruned, calibration, batchSize, job }) => {
      if (calibration === null) {
        const hint = "Give unlabelled inputs with --calib, or --calib random for made-up ones.";
        throw new EspalierError("request", "recovery bias", "expected calibration inputs, got none.", hint);
      }
      const layers = layersOf(original).filter(
        ({ input, matrix }) => kept.positions(input, matrix.data?.axis ?? 0) !== null && matrix.groups === 1,
      );
      const matrices = layers.map(({ matrix }) => matrix);
      const measured = await collect(runtime, original, matrices, ["columnMean"], calibration, { ...job, batchSize });
      let graph = pruned;
      for (const { matrix, input, output, axis, outputType } of layers) {
        const mean = measured.get(matrix)?.columnMean;
        const mask = kept.mask(input, matrix.data?.axis ?? 0);
        if (mean === undefined || mask === null || formOf(matrix) === null) continue;
        const weights = await readMatrix(original.graph, matrix);
        const { columns } = matrix;
        const positions = columns / mask.length;
        const rows = kept.positions(output, axis) ?? Int32Array.from({ length: matrix.rows }, (_, r) => r);
        const amount = Float64Array.from(rows, (r) => {
          let sum = 0;
          for (let c = 0; c < columns; c++) {
            if (mask[Math.floor(c / positions)] === 0) sum += (weights[r * columns + c] ?? 0) * (mean[c] ?? 0);
          }
          return sum;
        });
        graph = await shiftOutput(graph, matrix, outputType.shape.length, amount);
      }
      return graph;
    },
  };
}
