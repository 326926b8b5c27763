import type { Matrix } from "../coupling/matrices.ts";
import type { Dataset } from "../data/dataset.ts";
import { edit } from "../graph/edit.ts";
import { extract } from "../graph/subgraph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { isFloat } from "../tensor/dtype.ts";
import { type Job, step } from "../tensor/progress.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { type ChannelMoments, type InputMoments, tapChannels, tapFeatures, tapInputs } from "./moments.ts";
import type { Tap } from "./tap.ts";
import { formOf, unfold } from "./unfold.ts";

/** What calibration measures at the input of a matrix. */
export type Need = "inputMean" | "inputMeanSquare" | "columnMean" | "gram";

/** Statistics of one matrix; what was not asked for, or cannot be measured there, is absent. */
export interface Measurement {
  /** Mean of each input feature: [features]. */
  readonly inputMean?: Float64Array;
  /** Mean square of each input feature: [features]. */
  readonly inputMeanSquare?: Float64Array;
  /** Mean of each column, windows unfolded: [groups · columns]. */
  readonly columnMean?: Float64Array;
  /** Mean of x·xᵀ for each group, windows unfolded: [columns, columns]. */
  readonly gram?: readonly Float64Array[];
  /** Sums behind the Gram matrix, with the sums of the columns. */
  readonly moments?: InputMoments;
}

/** Bytes of taps that one session may give back, and of unfolded windows that it may make. */
const CHUNK_BYTES = 1 << 28;

/**
 * Measures the inputs of matrices over a data set, reduced inside the runtime; activations never leave it. Several
 * matrices share a run, as many as bounded memory allows. Matrices whose input cannot be unfolded have no `gram`.
 */
export async function collect(
  runtime: Runtime,
  analysis: Analysis,
  wanted: readonly Matrix[],
  needs: readonly Need[],
  data: Dataset,
  options: Job & { readonly batchSize: number },
): Promise<ReadonlyMap<Matrix, Measurement>> {
  const measured = new Map<Matrix, Measurement>();
  const gram = needs.includes("gram");
  const columns = needs.includes("columnMean");
  const vectors = needs.includes("inputMean") || needs.includes("inputMeanSquare");
  const chunks = chunked(wanted, (matrix) => tapBytes(analysis, matrix, gram, options.batchSize));
  const total = chunks.length * Math.ceil(data.count / options.batchSize);
  let done = 0;
  for (const chunk of chunks) {
    const taps = new Map<Matrix, MatrixTaps>();
    const draft = edit(analysis.graph);
    const opset = analysis.graph.opsets.get("") ?? 1;
    for (const matrix of chunk) {
      const value = matrix.data?.value ?? "";
      const type = analysis.facts.types.get(value);
      if (matrix.data === null || type === undefined || !isFloat(type.dtype)) continue;
      const entry: MatrixTaps = {};
      if (gram && formOf(matrix) !== null) entry.inputs = tapInputs(draft, opset, matrix, value, type);
      if (columns && !gram && formOf(matrix) !== null) {
        const unfolded = unfold(draft, matrix, value, type);
        entry.columns = tapFeatures(draft, opset, unfolded, matrix.groups * matrix.columns);
      }
      if (vectors) entry.channels = tapChannels(draft, opset, value, matrix.data.axis, type);
      taps.set(matrix, entry);
    }
    const all = [...taps.values()].flatMap((entry) => Object.values(entry));
    const outputs = all.flatMap((tap) => tap.outputs);
    if (outputs.length === 0) continue;
    const part = withoutTypes(extract(draft.finish(), outputs));
    const fed = new Set(part.inputs.map(({ name }) => name));
    const session = await runtime.compile(part);
    try {
      for await (const { inputs } of data.batches(options.batchSize)) {
        step(options, "calibrate", done++, total);
        const values = await session.run(new Map([...inputs].filter(([name]) => fed.has(name))));
        for (const tap of all) tap.add(values);
      }
    } finally {
      await session.release();
    }
    for (const [matrix, entry] of taps) measured.set(matrix, measurementOf(entry));
  }
  step(options, "calibrate", total, total);
  return measured;
}

interface MatrixTaps {
  inputs?: Tap<InputMoments>;
  columns?: Tap<ChannelMoments>;
  channels?: Tap<ChannelMoments>;
}

function measurementOf(entry: MatrixTaps): Measurement {
  const channels = entry.channels?.result();
  const moments = entry.inputs?.result();
  const columns = moments ?? entry.columns?.result();
  return {
    ...(columns === undefined ? {} : { columnMean: columns.sum.map((n) => n / columns.count) }),
    ...(channels === undefined
      ? {}
      : {
          inputMean: channels.sum.map((n) => n / channels.count),
          inputMeanSquare: channels.squares.map((n) => n / channels.count),
        }),
    ...(moments === undefined ? {} : { moments, gram: moments.gram.map((sums) => sums.map((n) => n / moments.count)) }),
  };
}

function tapBytes(analysis: Analysis, matrix: Matrix, gram: boolean, batch: number): number {
  if (!gram) return 0;
  const shape = analysis.facts.types.get(matrix.data?.value ?? "")?.shape ?? [];
  const windows = matrix.columns / (matrix.shape[matrix.inputs[0] ?? 0] ?? 1);
  // Unfolded windows exist three times for a moment; the runtime frees them before the next matrix, so they count little.
  const unfolded = (sizeOf(shape) / analysis.samples) * batch * windows * 4;
  return matrix.groups * matrix.columns ** 2 * 4 + unfolded / 4;
}

function chunked<T>(items: readonly T[], bytes: (item: T) => number): T[][] {
  const chunks: T[][] = [];
  let room = 0;
  for (const item of items) {
    const size = bytes(item);
    const last = chunks.at(-1);
    if (last === undefined || size > room) {
      chunks.push([item]);
      room = CHUNK_BYTES - size;
    } else {
      last.push(item);
      room -= size;
    }
  }
  return chunks;
}

function withoutTypes(graph: ReturnType<typeof extract>): ReturnType<typeof extract> {
  return {
    ...graph,
    outputs: graph.outputs.map(({ name }) => ({ name, dtype: null })),
    valueInfo: new Map(),
  };
}
