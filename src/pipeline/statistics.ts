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

/** Statistics by matrix, and by name of what no matrix product uses. */
export interface Measured {
  readonly matrices: ReadonlyMap<Matrix, Partial<MatrixStatistics>>;
  readonly vectors: ReadonlyMap<string, Partial<MatrixStatistics>>;
}

/** What a criterion needs of graphs that differ in the numbers of their parameters alone, as the rounds of a pruning do. */
export interface Meter {
  measure(graph: Graph): Promise<Measured>;
  release(): Promise<void>;
}

/** Opens a meter, of matrices and of `vectors` as far as a backward pass tells of them; it measures nothing where the criterion only looks at weights. Throws `request` without data that it needs. */
export async function openMeter(
  analysis: Analysis,
  matrices: readonly Matrix[],
  criterion: Pick<Criterion<Statistic>, "id" | "needs">,
  calibration: IndexedDataset | null,
  options: StatisticsOptions & { readonly vectors?: readonly string[] },
): Promise<Meter> {
  const { needs } = criterion;
  if (calibration === null && looksAtInputs(criterion)) throw needsData(criterion.id);
  const { runtime } = options;
  const [inputs, gradients, flow] = [needs.filter(isInput), needs.filter(isGradient), needs.filter(isFlow)];
  const { constants } = analysis.graph;
  const isTrained = (parameter: string): boolean => isFloat(constants.get(parameter)?.dtype ?? "bool");
  const trained = matrices.filter(({ parameter }) => isTrained(parameter));
  const vectors = (options.vectors ?? []).filter(isTrained);
  const parameters = [...new Set(trained.map(({ parameter }) => parameter))];
  const meter = flow.length === 0 ? null : await flowMeter(runtime, analysis.graph, parameters, oneSample(analysis));
  return {
    release: async () => meter?.release(),
    measure: async (graph) => {
      const found = new Map<Matrix, Partial<MatrixStatistics>>();
      const merge = (matrix: Matrix, more: Partial<MatrixStatistics>): void => {
        found.set(matrix, { ...found.get(matrix), ...more });
      };
      const beside = new Map<string, Partial<MatrixStatistics>>();
      const now = { ...analysis, graph };
      if (inputs.length > 0 && calibration !== null) {
        for (const [matrix, measured] of await collect(runtime, now, matrices, inputs, calibration, options)) {
          merge(matrix, measured);
        }
      }
      if (gradients.length > 0 && calibration !== null) {
        const all = [...parameters, ...vectors];
        const measured = await collectGradients(runtime, graph, all, gradients, calibration, options);
        for (const name of vectors) beside.set(name, measured.get(name) ?? {});
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
      return { matrices: found, vectors: beside };
    },
  };
}

/** Measures what a criterion needs of one graph. */
export async function statisticsFor(...[analysis, ...rest]: Parameters<typeof openMeter>): Promise<Measured> {
  const meter = await openMeter(analysis, ...rest);
  try {
    return await meter.measure(analysis.graph);
  } finally {
    await meter.release();
  }
}

/** Numbers of a parameter as [rows, columns]. */
export function asMatrix(matrix: Matrix, values: Float32Array): Float32Array {
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

/** Reads what was measured of a matrix or a vector; empty where nothing was. */
export function readerOf({
  matrices,
  vectors,
}: Measured): (matrix: Matrix | null, parameter?: string) => MatrixStatistics {
  return (matrix, parameter = "") => ({
    ...noStatistics,
    ...(matrix === null ? vectors.get(parameter) : matrices.get(matrix)),
  });
}
