import { sized } from "../../autodiff/sized.ts";
import type { Batch, Dataset } from "../../data/dataset.ts";
import { type Algebra, algebra, type Value } from "../../graph/algebra/algebra.ts";
import type { Feeds, Graph, TensorType } from "../../graph/graph.ts";
import { removeDeadCode } from "../../graph/passes/dead-code.ts";
import type { Runtime, Session, State } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, fromInts, toFloat32 } from "../../tensor/numeric.ts";
import { type Job, step } from "../../tensor/progress.ts";
import { type HostTensor, sizeOf } from "../../tensor/tensor.ts";
import { classAxis, taskLoss } from "../../train/objectives/task-loss.ts";

/** One pass over the data: what is summed over batches, in the runtime, and how samples are grouped. */
export interface GradientPass {
  /** Each sample is a batch of its own, since its own gradient is asked for. */
  readonly alone?: boolean;
  /** Writes what is summed, for each parameter: the mean over the batch. */
  readonly write: (
    g: Algebra,
    loss: (temperature?: number) => Value,
    names: readonly string[],
  ) => ReadonlyMap<string, Value>;
  /** Tensors of the size of the parameters that are fed beside the data, by a prefix. */
  readonly beside?: {
    readonly prefix: string;
    readonly make: (name: string, shape: readonly number[], batch: number) => HostTensor;
  };
}

export interface GradientPassOptions extends Job {
  readonly batchSize: number;
  /** What is measured, for the progress. */
  readonly detail?: string;
}

/** A compiled pass at one batch size. */
interface Compiled {
  readonly session: Session;
  readonly reads: ReadonlyMap<string, string>;
  readonly writes: ReadonlyMap<string, string>;
  readonly data: ReadonlySet<string>;
  readonly beside: ReadonlySet<string>;
  readonly labels: string | null;
}

/**
 * The mean of what a pass writes, by parameter: over samples where each is a batch of its own, else over labels that count. The loss is the cross-entropy with the labels of the data, or
 * with the model's own most likely classes where it has none. Sums are kept beside the runtime.
 */
export async function gradientPass(
  runtime: Runtime,
  graph: Graph,
  parameters: readonly string[],
  data: Dataset,
  pass: GradientPass,
  options: GradientPassOptions,
): Promise<ReadonlyMap<string, Float32Array>> {
  const state: State = await runtime.state();
  const compiled = new Map<string, Compiled>();
  const shapes = new Map(parameters.map((name) => [name, graph.constants.get(name)?.shape ?? []]));
  let [samples, number, whole] = [0, 0, 0];
  try {
    for (const [name, shape] of shapes)
      await state.set(new Map([[name, float32Tensor(shape, new Float32Array(sizeOf(shape)))]]));
    for await (const batch of data.batches(pass.alone === true ? 1 : options.batchSize)) {
      step(options, "gradients", samples, data.count, options.detail);
      const key = [...batch.inputs.values()].map(({ shape }) => shape.join("x")).join(" ");
      const ready = compiled.get(key) ?? (await compilePass(runtime, graph, shapes, batch, pass));
      compiled.set(key, ready);
      const feeds = new Map([...batch.inputs].filter(([name]) => ready.data.has(name)));
      const { labels } = batch;
      if (ready.labels !== null && labels !== undefined)
        feeds.set(ready.labels, fromInts("i32", [labels.length], labels));
      // The loss of a batch is a mean over its labels that count, the loss of all data one over all of them.
      const counted = pass.alone === true || ready.labels === null ? batch.count : countedLabels(batch);
      feeds.set(weightInput, float32Tensor([], Float32Array.of(counted)));
      whole += counted;
      for (const name of ready.beside) {
        const parameter = name.slice(pass.beside?.prefix.length ?? 0);
        const tensor = pass.beside?.make(parameter, shapes.get(parameter) ?? [], number);
        if (tensor !== undefined) feeds.set(name, tensor);
      }
      await ready.session.run(feeds, [], { state, reads: ready.reads, writes: ready.writes });
      samples += batch.count;
      number++;
    }
    const sums = await state.get(parameters);
    return new Map(
      [...sums].map(([name, sum]) => [
        name,
        checked(
          name,
          toFloat32(sum).map((value) => value / Math.max(1, whole)),
        ),
      ]),
    );
  } finally {
    for (const { session } of compiled.values()) await session.release();
    await state.release();
  }
}

/** How much the mean of a batch counts. */
const weightInput = "weight of the batch";

function countedLabels({ labels, count }: Batch): number {
  return labels?.reduce((sum, label) => sum + (label < 0 ? 0 : 1), 0) ?? count;
}

async function compilePass(
  runtime: Runtime,
  graph: Graph,
  shapes: ReadonlyMap<string, readonly number[]>,
  batch: Batch,
  pass: GradientPass,
): Promise<Compiled> {
  const model = await sized(graph, runtime, typesOf(batch.inputs));
  const g = algebra(model);
  const logits = g.of(model.graph.outputs[0]?.name ?? "");
  const rows = sizeOf(logits.shape) / (logits.shape[classAxis(logits.shape)] ?? 1);
  const labels =
    batch.labels !== undefined && batch.labels.length === rows ? g.input("labels of the batch", "i32", [rows]) : null;
  const names = [...shapes.keys()];
  const found = pass.write(g, (temperature) => taskLoss(g, logits, labels, temperature), names);
  const weight = g.input(weightInput, "f32", []);
  const reads = new Map<string, string>();
  const writes = new Map<string, string>();
  for (const [name, value] of found) {
    const sum = g.input(g.draft.fresh(`sum/${name}`), "f32", value.shape);
    reads.set(sum.name, name);
    writes.set(g.add(sum, g.mul(g.cast(value, "f32"), weight)).name, name);
  }
  const outputs = [...writes.keys()].map((name) => ({ name, dtype: g.of(name).dtype, dims: g.of(name).shape }));
  const whole = removeDeadCode({ ...g.finish().graph, outputs, valueInfo: new Map() });
  const used = new Set(whole.nodes.flatMap(({ inputs }) => inputs));
  const inputs = whole.inputs.filter(({ name }) => used.has(name));
  const fed = new Set(inputs.map(({ name }) => name));
  return {
    session: await runtime.compile({ ...whole, inputs }),
    reads,
    writes,
    data: new Set([...batch.inputs.keys()].filter((name) => fed.has(name))),
    beside: new Set([...fed].filter((name) => pass.beside !== undefined && name.startsWith(pass.beside.prefix))),
    labels: labels !== null && fed.has(labels.name) ? labels.name : null,
  };
}

function typesOf(feeds: Feeds): ReadonlyMap<string, TensorType> {
  return new Map([...feeds].map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
}

function checked(name: string, values: Float32Array): Float32Array {
  for (const value of values) {
    if (Number.isFinite(value)) continue;
    throw new EspalierError(
      "gradient",
      `parameter "${name}"`,
      `expected finite gradients over the data, got ${value}.`,
    );
  }
  return values;
}
