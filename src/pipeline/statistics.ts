import type { Matrix } from "../coupling/matrices.ts";
import { type Criterion, type MatrixStatistics, noStatistics, type Statistic } from "../criteria/criterion.ts";
import { matrixView } from "../criteria/weight-view.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { collectGradients } from "../stats/gradients.ts";
import { flowMeter } from "../stats/synaptic-flow.ts";
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

/** What a criterion needs of graphs that differ in the numbers of their parameters alone, as the rounds of a pruning do. */
export interface Meter {
  measure(graph: Graph): Promise<ReadonlyMap<Matrix, Partial<MatrixStatistics>>>;
  release(): Promise<void>;
}

/** Opens a meter; it measures nothing where the criterion only looks at weights. Throws `request` without data that it needs. */
export async function openMeter(
  analysis: Analysis,
  matrices: readonly Matrix[],
  criterion: Pick<Criterion<Statistic>, "id" | "needs">,
  calibration: IndexedDataset | null,
  options: StatisticsOptions,
): Promise<Meter> {
  const { needs } = criterion;
  if (calibration === null && looksAtInputs(criterion)) throw needsData(criterion.id);
  const { runtime } = options;
  const [inputs, gradients, flow] = [needs.filter(isInput), needs.filter(isGradient), needs.filter(isFlow)];
  const { constants } = analysis.graph;
  const trained = matrices.filter(({ parameter }) => isFloat(constants.get(parameter)?.dtype ?? "bool"));
  const parameters = [...new Set(trained.map(({ parameter }) => parameter))];
  const meter = flow.length === 0 ? null : await flowMeter(runtime, analysis.graph, parameters, oneSample(analysis));
  return {
    release: async () => meter?.release(),
    measure: async (graph) => {
      const found = new Map<Matrix, Partial<MatrixStatistics>>();
      const merge = (matrix: Matrix, more: Partial<MatrixStatistics>): void => {
        found.set(matrix, { ...found.get(matrix), ...more });
      };
      const now = { ...analysis, graph };
      if (inputs.length > 0 && calibration !== null) {
        for (const [matrix, measured] of await collect(runtime, now, matrices, inputs, calibration, options)) {
          merge(matrix, measured);
        }
      }
      if (gradients.length > 0 && calibration !== null) {
        const measured = await collectGradients(runtime, graph, parameters, gradients, calibration, options);
        for (const matrix of trained) {
          for (const need of gradients) {
            const values = measured.get(matrix.parameter)?.[need];
            if (values !== undefined) merge(matrix, { [need]: asMatrix(matrix, values) });
          }
        }
      }
      const flows = await meter?.measure(graph);
      for (const matrix of flows === undefined ? [] : trained) {
        const values = flows?.get(matrix.parameter);
        if (values !== undefined) merge(matrix, { synapticFlow: asMatrix(matrix, values) });
      }
      return found;
    },
  };
}

/** Measures what a criterion needs of one graph. */
export async function statisticsFor(
  ...[analysis, ...rest]: Parameters<typeof openMeter>
): Promise<ReadonlyMap<Matrix, Partial<MatrixStatistics>>> {
  const meter = await openMeter(analysis, ...rest);
  try {
    return await meter.measure(analysis.graph);
  } finally {
    await meter.release();
  }
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
