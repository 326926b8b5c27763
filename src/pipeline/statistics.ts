import type { Matrix } from "../coupling/matrices.ts";
import type { Criterion, MatrixStatistics, Statistic } from "../criteria/criterion.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import type { Analysis } from "../models/analysis.ts";
import { collect } from "../stats/taps.ts";
import { EspalierError } from "../tensor/error.ts";
import type { PruneOptions } from "./prune.ts";

/** What a matrix has when nothing was measured; criteria only read what they declared. */
const emptyStatistics: MatrixStatistics = {
  inputMean: new Float64Array(0),
  inputMeanSquare: new Float64Array(0),
  gram: [],
};

/** The error for a criterion or recovery that looks at activations when there is no data. */
export function needsData(what: string): EspalierError {
  return new EspalierError(
    "request",
    what,
    "expected calibration inputs, got none.",
    "Give unlabelled inputs with --calib DATA, or --calib random for made-up ones.",
  );
}

/** Measures what a criterion needs; nothing when it only looks at weights. */
export async function statisticsFor(
  analysis: Analysis,
  matrices: readonly Matrix[],
  criterion: Criterion<Statistic>,
  calibration: IndexedDataset | null,
  options: PruneOptions & { readonly batchSize: number },
): Promise<ReadonlyMap<Matrix, Partial<MatrixStatistics>>> {
  if (criterion.needs.length === 0) return new Map();
  if (calibration === null) throw needsData(criterion.id);
  return collect(options.runtime, analysis, matrices, criterion.needs, calibration, options);
}

/** Reads what was measured of a matrix, and nothing of a vector, which has no inputs. */
export function readerOf(
  measured: ReadonlyMap<Matrix, Partial<MatrixStatistics>>,
): (matrix: Matrix | null) => MatrixStatistics {
  return (matrix) => (matrix === null ? emptyStatistics : { ...emptyStatistics, ...measured.get(matrix) });
}
