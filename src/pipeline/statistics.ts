import type { Matrix } from "../coupling/matrices.ts";
import { type Criterion, type MatrixStatistics, noStatistics, type Statistic } from "../criteria/criterion.ts";
import { matrixView } from "../criteria/weight-view.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import type { TensorType } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { collectGradients } from "../stats/gradients.ts";
import { synapticFlow } from "../stats/synaptic-flow.ts";
import { collect } from "../stats/taps.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import type { Job } from "../tensor/progress.ts";

export interface StatisticsOptions extends Job {
  readonly runtime: Runtime;
  readonly batchSize: number;
  readonly seed?: number;
}

/** How each statistic is measured: at the inputs of matrices, by backward passes, or without data. */
const sources = {
  inputMean: "inputs",
  inputMeanSquare: "inputs",
  gram: "inputs",
  gradient: "gradients",
  gradientMagnitude: "gradients",
  gradientSquare: "gradients",
  hessianDiagonal: "gradients",
  hessianGradient: "gradients",
  synapticFlow: "flow",
} as const satisfies Readonly<Record<Statistic, "inputs" | "gradients" | "flow">>;

type From<S extends "inputs" | "gradients" | "flow"> = {
  [K in Statistic]: (typeof sources)[K] extends S ? K : never;
}[Statistic];

const isInput = (need: Statistic): need is From<"inputs"> => sources[need] === "inputs";
const isGradient = (need: Statistic): need is From<"gradients"> => sources[need] === "gradients";
const isFlow = (need: Statistic): need is From<"flow"> => sources[need] === "flow";

/** True for a criterion that looks at calibration inputs. */
export function looksAtInputs({ needs }: Pick<Criterion<Statistic>, "needs">): boolean {
  return needs.some((need) => !isFlow(need));
}

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
  options: StatisticsOptions,
): Promise<ReadonlyMap<Matrix, Partial<MatrixStatistics>>> {
  const { needs } = criterion;
  if (needs.length === 0) return new Map();
  if (calibration === null && looksAtInputs(criterion)) throw needsData(criterion.id);
  const { runtime } = options;
  const { graph } = analysis;
  const [inputs, gradients, flow] = [needs.filter(isInput), needs.filter(isGradient), needs.filter(isFlow)];
  const found = new Map<Matrix, Partial<MatrixStatistics>>();
  const merge = (matrix: Matrix, more: Partial<MatrixStatistics>): void => {
    found.set(matrix, { ...found.get(matrix), ...more });
  };
  if (inputs.length > 0 && calibration !== null) {
    for (const [matrix, measured] of await collect(runtime, analysis, matrices, inputs, calibration, options)) {
      merge(matrix, measured);
    }
  }
  const trained = matrices.filter(({ parameter }) => isFloat(graph.constants.get(parameter)?.dtype ?? "bool"));
  const parameters = [...new Set(trained.map(({ parameter }) => parameter))];
  if (gradients.length > 0 && calibration !== null) {
    const measured = await collectGradients(runtime, graph, parameters, gradients, calibration, options);
    for (const matrix of trained) {
      for (const need of gradients) {
        const values = measured.get(matrix.parameter)?.[need];
        if (values !== undefined) merge(matrix, { [need]: asMatrix(matrix, values) });
      }
    }
  }
  if (flow.length > 0) {
    const measured = await synapticFlow(runtime, graph, parameters, oneSample(analysis));
    for (const matrix of trained) {
      const values = measured.get(matrix.parameter);
      if (values !== undefined) merge(matrix, { synapticFlow: asMatrix(matrix, values) });
    }
  }
  return found;
}

/** Numbers of a parameter as [rows, columns]. */
function asMatrix(matrix: Matrix, values: Float32Array): Float32Array {
  return matrixView(matrix, float32Tensor(matrix.shape, values)).values;
}

/** The types of the inputs for a batch of one, where the file leaves the batch open. */
function oneSample({ graph, inputs }: Analysis): ReadonlyMap<string, TensorType> {
  const open = new Set(graph.inputs.filter(({ dims }) => typeof dims?.[0] !== "number").map(({ name }) => name));
  return new Map(
    [...inputs].map(([name, type]) => {
      const [, ...rest] = type.shape;
      return [name, open.has(name) && type.shape.length > 0 ? { ...type, shape: [1, ...rest] } : type];
    }),
  );
}

/** Reads what was measured of a matrix, and nothing of a vector, which has no inputs. */
export function readerOf(
  measured: ReadonlyMap<Matrix, Partial<MatrixStatistics>>,
): (matrix: Matrix | null) => MatrixStatistics {
  return (matrix) => (matrix === null ? noStatistics : { ...noStatistics, ...measured.get(matrix) });
}
