import type { Dataset } from "../data/dataset.ts";
import { edit } from "../graph/edit.ts";
import type { Feeds, Graph } from "../graph/graph.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { EspalierError } from "../tensor/error.ts";
import { toFloat64 } from "../tensor/numeric.ts";
import { type Job, step } from "../tensor/progress.ts";
import { formatShape, type HostTensor } from "../tensor/tensor.ts";

/** What changing one parameter does to the outputs, at each strength. */
export interface DistortionCurve {
  readonly parameter: string;
  readonly points: readonly { readonly strength: number; readonly distortion: number }[];
}

export interface DistortionOptions extends Job {
  readonly batchSize: number;
  /** How the samples join: their mean, or the worst of them. */
  readonly over: "mean" | "worst";
}

/**
 * E‖f(x; W) − f(x; W with one parameter changed)‖² per output element, for each parameter and strength; `variant` gives the
 * changed parameter. One session serves all strengths of a parameter: it is fed as an input and all others stay
 * constants, which the runtime may pack and fuse. Memory: one parameter and the original's outputs on the data.
 * Throws `request` for a parameter that the graph does not have and `shape` for a variant of another form.
 */
export async function outputDistortion(
  runtime: Runtime,
  graph: Graph,
  parameters: readonly string[],
  strengths: readonly number[],
  variant: (parameter: string, strength: number) => Promise<HostTensor>,
  data: Dataset,
  options: DistortionOptions,
): Promise<readonly DistortionCurve[]> {
  const outputs = graph.outputs.map(({ name }) => name);
  const wanted = await outputsOn(runtime, graph, data, options.batchSize);
  const curves: DistortionCurve[] = [];
  for (const [index, parameter] of parameters.entries()) {
    step(options, "measure distortion", index, parameters.length, parameter);
    const session = await runtime.compile(withInput(graph, parameter));
    try {
      const points: { strength: number; distortion: number }[] = [];
      for (const strength of strengths) {
        const changed = await variant(parameter, strength);
        checkVariant(graph, parameter, changed);
        const spread = new Spread(options.over);
        let batch = 0;
        for await (const { inputs, count } of data.batches(options.batchSize)) {
          const feeds: Feeds = new Map([...inputs, [parameter, changed]]);
          const found = await session.run(feeds, outputs);
          spread.add(
            outputs.map((name) => toFloat64(found.get(name) ?? missing(name))),
            wanted[batch++] ?? [],
            count,
          );
          step(options, "measure distortion", index, parameters.length, parameter);
        }
        points.push({ strength, distortion: spread.result() });
      }
      curves.push({ parameter, points });
    } finally {
      await session.release();
    }
  }
  step(options, "measure distortion", parameters.length, parameters.length);
  return curves;
}

/** Mean squared difference of each sample, then over samples. */
class Spread {
  readonly #over: "mean" | "worst";
  #sum = 0;
  #worst = 0;
  #count = 0;

  constructor(over: "mean" | "worst") {
    this.#over = over;
  }

  add(found: readonly Float64Array[], wanted: readonly Float64Array[], samples: number): void {
    for (let s = 0; s < samples; s++) {
      let sum = 0;
      let size = 0;
      for (const [o, values] of found.entries()) {
        const other = wanted[o];
        const width = values.length / samples;
        for (let i = s * width; i < (s + 1) * width; i++) sum += ((values[i] ?? 0) - (other?.[i] ?? 0)) ** 2;
        size += width;
      }
      this.#sum += sum / size;
      this.#worst = Math.max(this.#worst, sum / size);
    }
    this.#count += samples;
  }

  result(): number {
    const value = this.#over === "mean" ? this.#sum / this.#count : this.#worst;
    return Number.isFinite(value) ? value : Number.POSITIVE_INFINITY;
  }
}

async function outputsOn(runtime: Runtime, graph: Graph, data: Dataset, size: number): Promise<Float64Array[][]> {
  const session = await runtime.compile(graph);
  try {
    const all: Float64Array[][] = [];
    for await (const { inputs } of data.batches(size)) {
      const found = await session.run(inputs);
      all.push(graph.outputs.map(({ name }) => toFloat64(found.get(name) ?? missing(name))));
    }
    return all;
  } finally {
    await session.release();
  }
}

/** The graph with a constant turned into an input. */
function withInput(graph: Graph, parameter: string): Graph {
  const ref = graph.constants.get(parameter);
  if (ref === undefined) {
    throw new EspalierError("request", parameter, "expected a parameter of the graph, got none.");
  }
  const draft = edit(graph);
  draft.removeConstant(parameter);
  if (!graph.inputs.some(({ name }) => name === parameter)) draft.input(parameter, ref.dtype, ref.shape);
  return draft.finish();
}

function checkVariant(graph: Graph, parameter: string, changed: HostTensor): void {
  const ref = graph.constants.get(parameter);
  if (ref?.dtype === changed.dtype && formatShape(ref.shape) === formatShape(changed.shape)) return;
  throw new EspalierError(
    "shape",
    parameter,
    `expected ${ref?.dtype} ${formatShape(ref?.shape ?? [])}, got ${changed.dtype} ${formatShape(changed.shape)}.`,
  );
}

function missing(name: string): never {
  throw new EspalierError("runtime", name, "expected an output of the model, got none.");
}
