import type { Batch, Dataset } from "../data/dataset.ts";
import { type Algebra, algebra, type Value } from "../graph/algebra.ts";
import { removeDeadCode } from "../graph/dead-code.ts";
import type { Feeds, Graph, TensorType } from "../graph/graph.ts";
import type { Runtime, Session, State } from "../runtime/runtime.ts";
import { EspalierError } from "../tensor/error.ts";
import { float32Tensor, fromInts, toFloat32 } from "../tensor/numeric.ts";
import { type Job, step } from "../tensor/progress.ts";
import { type Random, random } from "../tensor/random.ts";
import { type HostTensor, sizeOf } from "../tensor/tensor.ts";
import { gradient } from "../train/gradient.ts";
import { sized } from "../train/sized.ts";
import { taskLoss } from "../train/task-loss.ts";

/** What backward passes over calibration data measure of each weight, in the layout of its parameter. */
export interface GradientStatistics {
  /** Mean over samples of g = ∂loss/∂w. */
  readonly gradient?: Float32Array;
  /** Mean over samples of |g| of each sample alone. */
  readonly gradientMagnitude?: Float32Array;
  /** Mean over samples of g² of each sample alone: the diagonal of the empirical Fisher matrix. */
  readonly gradientSquare?: Float32Array;
  /** Diagonal of the Hessian, estimated: mean of v ∘ Hv over random signs v (Hutchinson; one draw for each batch). */
  readonly hessianDiagonal?: Float32Array;
  /** H·g at logits divided by 200 (GraSP, Wang et al. 2020), g the mean gradient, up to one positive factor for the model. */
  readonly hessianGradient?: Float32Array;
}

export type GradientNeed = keyof GradientStatistics;

/** Softens logits so that classes are about equally likely, as GraSP's authors do. */
const graspTemperature = 200;

export interface GradientOptions extends Job {
  readonly batchSize: number;
  readonly seed?: number;
}

/** One pass over the data: what is summed over batches, in the runtime, and how samples are grouped. */
interface Pass {
  readonly need: GradientNeed;
  /** Samples of a batch; 1 where each sample's own gradient is asked for. */
  readonly batchSize: number;
  /** Writes what is summed; the mean of the batch of each parameter. */
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

/**
 * Measures gradients of parameters over a data set. The loss is the cross-entropy with the labels of the data, or with the
 * model's own most likely classes where it has none. Sums are kept in the runtime. Throws `gradient` where an
 * operator on the way has no gradient.
 */
export async function collectGradients(
  runtime: Runtime,
  graph: Graph,
  parameters: readonly string[],
  needs: readonly GradientNeed[],
  data: Dataset,
  options: GradientOptions,
): Promise<ReadonlyMap<string, GradientStatistics>> {
  const found = new Map<string, { -readonly [N in GradientNeed]?: Float32Array }>(parameters.map((name) => [name, {}]));
  const { seed = 0, batchSize } = options;
  const source = random(seed, "hutchinson");
  for (const need of needs) {
    const mean = async (pass: Pass) => runPass(runtime, graph, parameters, data, pass, options);
    const result = await (async () => {
      switch (need) {
        case "gradient":
          return mean({ need, batchSize, write: (g, loss, names) => gradients(g, loss(), names) });
        case "gradientMagnitude":
          return mean({
            need,
            batchSize: 1,
            write: (g, loss, names) => mapped(gradients(g, loss(), names), (v) => g.map("Abs", v)),
          });
        case "gradientSquare":
          return mean({
            need,
            batchSize: 1,
            write: (g, loss, names) => mapped(gradients(g, loss(), names), (v) => g.square(v)),
          });
        case "hessianDiagonal":
          return mean({
            need,
            batchSize,
            write: (g, loss, names) => hessianTimes(g, loss(), names, true),
            beside: { prefix: direction, make: (name, shape, batch) => signs(shape, source.split(name, batch)) },
          });
        case "hessianGradient": {
          const soft = (g: Algebra, loss: (temperature?: number) => Value, names: readonly string[]) =>
            gradients(g, loss(graspTemperature), names);
          const first = await mean({ need, batchSize, write: soft });
          const unit = unitLength(first);
          return mean({
            need,
            batchSize,
            write: (g, loss, names) => hessianTimes(g, loss(graspTemperature), names, false),
            beside: {
              prefix: direction,
              make: (name, shape) => float32Tensor(shape, unit.get(name) ?? new Float32Array(sizeOf(shape))),
            },
          });
        }
      }
    })();
    for (const [name, values] of result) {
      const entry = found.get(name);
      if (entry !== undefined) entry[need] = values;
    }
  }
  return found;
}

const direction = "direction/";

function gradients(g: Algebra, loss: Value, names: readonly string[]): ReadonlyMap<string, Value> {
  return gradient(g, loss, names, { unreached: "zero" });
}

function mapped(values: ReadonlyMap<string, Value>, f: (value: Value) => Value): ReadonlyMap<string, Value> {
  return new Map([...values].map(([name, value]) => [name, f(value)]));
}

/** H·v, or v ∘ H·v, with directions v that are fed: the gradient of the product of the gradient with v. */
function hessianTimes(
  g: Algebra,
  loss: Value,
  names: readonly string[],
  diagonal: boolean,
): ReadonlyMap<string, Value> {
  const first = gradients(g, loss, names);
  const directions = new Map(
    [...first].map(([name, value]) => [name, g.input(`${direction}${name}`, "f32", value.shape)] as const),
  );
  const products = [...first].map(([name, value]) => g.sum(g.mul(g.cast(value, "f32"), directions.get(name) ?? value)));
  const second = gradients(g, g.total(products), names);
  if (!diagonal) return second;
  return new Map(
    [...second].map(([name, value]) => [name, g.mul(g.cast(value, "f32"), directions.get(name) ?? value)]),
  );
}

function signs(shape: readonly number[], source: Random): HostTensor {
  const values = new Float32Array(sizeOf(shape));
  source.fillUniform(values, -1, 1);
  return float32Tensor(
    shape,
    values.map((value) => (value < 0 ? -1 : 1)),
  );
}

/** All together of length 1, so that what they are multiplied with neither vanishes nor overflows. */
function unitLength(vectors: ReadonlyMap<string, Float32Array>): ReadonlyMap<string, Float32Array> {
  let sum = 0;
  for (const values of vectors.values()) for (const value of values) sum += value * value;
  const norm = Math.sqrt(sum) || 1;
  return new Map([...vectors].map(([name, values]) => [name, values.map((value) => value / norm)]));
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

/** The mean over samples of what a pass writes. */
async function runPass(
  runtime: Runtime,
  graph: Graph,
  parameters: readonly string[],
  data: Dataset,
  pass: Pass,
  options: GradientOptions,
): Promise<ReadonlyMap<string, Float32Array>> {
  const state: State = await runtime.state();
  const compiled = new Map<string, Compiled>();
  const shapes = new Map(parameters.map((name) => [name, graph.constants.get(name)?.shape ?? []]));
  let [samples, number] = [0, 0];
  try {
    for (const [name, shape] of shapes)
      await state.set(new Map([[name, float32Tensor(shape, new Float32Array(sizeOf(shape)))]]));
    for await (const batch of data.batches(pass.batchSize)) {
      step(options, "gradients", samples, data.count, pass.need);
      const key = [...batch.inputs.values()].map(({ shape }) => shape.join("x")).join(" ");
      const ready = compiled.get(key) ?? (await compilePass(runtime, graph, shapes, batch, pass));
      compiled.set(key, ready);
      const feeds = new Map([...batch.inputs].filter(([name]) => ready.data.has(name)));
      const { labels } = batch;
      if (ready.labels !== null && labels !== undefined)
        feeds.set(ready.labels, fromInts("i32", [labels.length], labels));
      feeds.set(weightInput, float32Tensor([], Float32Array.of(batch.count)));
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
          toFloat32(sum).map((value) => value / samples),
        ),
      ]),
    );
  } finally {
    for (const { session } of compiled.values()) await session.release();
    await state.release();
  }
}

/** Samples of the batch, by which its mean counts. */
const weightInput = "samples of the batch";

async function compilePass(
  runtime: Runtime,
  graph: Graph,
  shapes: ReadonlyMap<string, readonly number[]>,
  batch: Batch,
  pass: Pass,
): Promise<Compiled> {
  const model = await sized(graph, runtime, typesOf(batch.inputs));
  const g = algebra(model);
  const logits = g.of(model.graph.outputs[0]?.name ?? "");
  const rows = sizeOf(logits.shape) / (logits.shape[logits.shape.length > 3 ? 1 : logits.shape.length - 1] ?? 1);
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
