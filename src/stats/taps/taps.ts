import type { Matrix } from "../../coupling/matrices.ts";
import type { Dataset } from "../../data/dataset.ts";
import { edit } from "../../graph/edit.ts";
import { extract } from "../../graph/subgraph.ts";
import type { Analysis } from "../../models/analysis.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { type Job, step } from "../../tensor/progress.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { type Measurement, type Need, tapMatrices } from "./tap-matrices.ts";

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
  const gram = needs.includes("gram") || needs.includes("moments");
  const chunks = chunked(wanted, (matrix) => tapBytes(analysis, matrix, gram, options.batchSize));
  const total = chunks.length * Math.ceil(data.count / options.batchSize);
  let done = 0;
  for (const chunk of chunks) {
    const draft = edit(analysis.graph);
    const opset = analysis.graph.opsets.get("") ?? 1;
    const taps = tapMatrices(draft, opset, analysis.facts.types, chunk, needs);
    const { outputs } = taps;
    if (outputs.length === 0) continue;
    const part = withoutTypes(extract(draft.finish(), outputs));
    const fed = new Set(part.inputs.map(({ name }) => name));
    const session = await runtime.compile(part);
    try {
      for await (const { inputs } of data.batches(options.batchSize)) {
        step(options, "calibrate", done++, total);
        const values = await session.run(new Map([...inputs].filter(([name]) => fed.has(name))));
        taps.add(values);
      }
    } finally {
      await session.release();
    }
    for (const [matrix, measurement] of taps.result()) measured.set(matrix, measurement);
  }
  step(options, "calibrate", total, total);
  return measured;
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
