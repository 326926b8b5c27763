import type { Matrix } from "../coupling/matrices.ts";
import {
  type Criterion,
  type LearningPath,
  type MatrixStatistics,
  noStatistics,
  type Statistic,
} from "../criteria/criterion.ts";
import { asParameter, matrixView } from "../criteria/weight-view.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { collectGradients } from "../stats/gradients/gradients.ts";
import { importanceAlong } from "../stats/gradients/importance-along.ts";
import { flowMeter } from "../stats/gradients/synaptic-flow.ts";
import { collect } from "../stats/taps/taps.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import type { Job } from "../tensor/progress.ts";
import { type HostTensor, load } from "../tensor/tensor.ts";

export interface StatisticsOptions extends Job {
  readonly runtime: Runtime;
  /** Data that stands for all that a model should not forget, for criteria that compare it with the calibration data. */
  readonly general?: IndexedDataset | null;
  readonly batchSize: number;
  readonly seed?: number;
}

/** How each statistic is measured: at the inputs of matrices, by backward passes, along a short training, or without data. */
const sources = {
  inputMean: "inputs",
  inputMeanSquare: "inputs",
  gram: "inputs",
  gradient: "gradients",
  gradientMagnitude: "gradients",
  gradientSquare: "gradients",
  hessianDiagonal: "gradients",
  hessianGradient: "gradients",
  pathImportance: "path",
  generalGram: "general",
  generalGradient: "general",
  generalGradientSquare: "general",
  synapticFlow: "flow",
} as const satisfies Readonly<Record<Statistic, Source>>;

/** What each statistic of general data is on calibration data. */
const ofGeneral = {
  generalGram: "gram",
  generalGradient: "gradient",
  generalGradientSquare: "gradientSquare",
} as const satisfies Readonly<Record<From<"general">, From<"inputs" | "gradients">>>;

type Source = "inputs" | "gradients" | "path" | "general" | "flow";

type From<S extends Source> = {
  [K in Statistic]: (typeof sources)[K] extends S ? K : never;
}[Statistic];

const isInput = (need: Statistic): need is From<"inputs"> => sources[need] === "inputs";
const isGradient = (need: Statistic): need is From<"gradients"> => sources[need] === "gradients";
const isGeneral = (need: Statistic): need is From<"general"> => sources[need] === "general";
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

/** The error for a criterion that compares calibration data with general data where there is none. */
export function needsGeneral(what: string): EspalierError {
  const hint = "Give inputs of everything else that the model should not forget with --general DATA.";
  return new EspalierError("request", what, "expected general data beside the calibration inputs, got none.", hint);
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
  criterion: Pick<Criterion<Statistic>, "id" | "needs" | "path">,
  calibration: IndexedDataset | null,
  options: StatisticsOptions & { readonly vectors?: readonly string[] },
): Promise<Meter> {
  const needs = allNeeds(criterion);
  if (calibration === null && looksAtInputs({ needs })) throw needsData(criterion.id);
  const { runtime, general = null } = options;
  if (general === null && needs.some(isGeneral)) throw needsGeneral(criterion.id);
  const { constants } = analysis.graph;
  const isTrained = (parameter: string): boolean => isFloat(constants.get(parameter)?.dtype ?? "bool");
  const trained = matrices.filter(({ parameter }) => isTrained(parameter));
  const vectors = (options.vectors ?? []).filter(isTrained);
  const parameters = [...new Set(trained.map(({ parameter }) => parameter))];
  const flow = needs.filter(isFlow);
  const meter = flow.length === 0 ? null : await flowMeter(runtime, analysis.graph, parameters, oneSample(analysis));
  return {
    release: async () => meter?.release(),
    measure: async (graph) => {
      const found = new Map<Matrix, Partial<MatrixStatistics>>();
      const merge = (matrix: Matrix, more: Partial<MatrixStatistics>): void => {
        found.set(matrix, { ...found.get(matrix), ...more });
      };
      const beside = new Map<string, Partial<MatrixStatistics>>();
      const of = { analysis: { ...analysis, graph }, matrices, trained, vectors };
      if (calibration !== null) {
        const plain = needs.filter((need) => isInput(need) || isGradient(need));
        const own = await onData(of, plain, calibration, options);
        for (const [matrix, measured] of own.matrices) merge(matrix, measured);
        for (const [name, measured] of own.vectors) beside.set(name, measured);
      }
      if (general !== null) {
        const compared = needs.filter(isGeneral);
        const other = await onData(
          { ...of, vectors: [] },
          compared.map((need) => ofGeneral[need]),
          general,
          options,
        );
        for (const [matrix, measured] of other.matrices) {
          for (const need of compared) {
            const value = measured[ofGeneral[need]];
            if (value !== undefined) merge(matrix, { [need]: value });
          }
        }
      }
      if (calibration !== null && criterion.path !== undefined) {
        const anchors = await anchorsOf(criterion.path, graph, trained, found);
        const { seed = 0 } = options;
        const along = { ...jobOf(options), seed, anchors };
        const sums = await importanceAlong(runtime, graph, parameters, calibration, criterion.path, along);
        for (const matrix of trained) {
          const values = sums.get(matrix.parameter);
          if (values !== undefined) merge(matrix, { pathImportance: asMatrix(matrix, values) });
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

/** What is measured for a criterion: what it reads, and what the scores of its anchor read. */
function allNeeds({ needs, path }: Pick<Criterion<Statistic>, "needs" | "path">): readonly Statistic[] {
  return [...new Set([...needs, ...(path?.anchor?.scores.needs ?? [])])];
}

interface Measuring {
  readonly analysis: Analysis;
  readonly matrices: readonly Matrix[];
  readonly trained: readonly Matrix[];
  readonly vectors: readonly string[];
}

/** Statistics of inputs and of gradients on one data set. */
async function onData(
  { analysis, matrices, trained, vectors }: Measuring,
  needs: readonly Statistic[],
  data: IndexedDataset,
  options: StatisticsOptions,
): Promise<Measured> {
  const { runtime } = options;
  const [inputs, gradients] = [needs.filter(isInput), needs.filter(isGradient)];
  const found = new Map<Matrix, Partial<MatrixStatistics>>();
  const beside = new Map<string, Partial<MatrixStatistics>>();
  if (inputs.length > 0) {
    for (const [matrix, measured] of await collect(runtime, analysis, matrices, inputs, data, options)) {
      found.set(matrix, measured);
    }
  }
  if (gradients.length === 0) return { matrices: found, vectors: beside };
  const all = [...new Set([...trained.map(({ parameter }) => parameter), ...vectors])];
  const measured = await collectGradients(runtime, analysis.graph, all, gradients, data, options);
  for (const name of vectors) beside.set(name, measured.get(name) ?? {});
  for (const matrix of trained) {
    for (const need of gradients) {
      const values = measured.get(matrix.parameter)?.[need];
      if (values !== undefined) found.set(matrix, { ...found.get(matrix), [need]: asMatrix(matrix, values) });
    }
  }
  return { matrices: found, vectors: beside };
}

/** Scores that hold weights on a path, in the layout of their parameters. */
async function anchorsOf(
  { anchor }: LearningPath,
  { constants }: Graph,
  matrices: readonly Matrix[],
  measured: ReadonlyMap<Matrix, Partial<MatrixStatistics>>,
): Promise<ReadonlyMap<string, HostTensor>> {
  const found = new Map<string, HostTensor>();
  for (const matrix of anchor === undefined ? [] : matrices) {
    const ref = constants.get(matrix.parameter);
    if (ref === undefined) continue;
    const statistics = { ...noStatistics, ...measured.get(matrix) };
    const scores = anchor?.scores.elements?.(matrixView(matrix, await load(ref)), statistics);
    if (scores !== undefined) found.set(matrix.parameter, asParameter(matrix, Float32Array.from(scores)));
  }
  return found;
}

function jobOf({ progress, signal }: Job): Job {
  return { ...(progress === undefined ? {} : { progress }), ...(signal === undefined ? {} : { signal }) };
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
