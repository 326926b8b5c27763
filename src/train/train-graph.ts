import { sized } from "../autodiff/sized.ts";
import { trainingMode } from "../autodiff/training-mode.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import { type Algebra, algebra, type SizedGraph } from "../graph/algebra/algebra.ts";
import type { Feeds, Graph, Node, TensorType } from "../graph/graph.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { EspalierError } from "../tensor/error.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import type { Job } from "../tensor/progress.ts";
import { type HostTensor, sizeOf } from "../tensor/tensor.ts";
import { bestName, bestPoint, type HeldOut, heldOutName } from "./held-out.ts";
import { adamW } from "./optimisers/adam.ts";
import type { Optimiser } from "./optimisers/optimiser.ts";
import type { Parameter, ParameterKind } from "./parameters/trainable.ts";
import { cosineRate, type RateSchedule, warmedUp } from "./rates.ts";
import { type Fed, type Reparameterised, reparameterised, type Use } from "./reparameterisations/apply.ts";
import { lossStep, type Objective, type ParameterGroup, type StepDefinition, slotName, trainSteps } from "./step.ts";
import { type Augment, type RunSnapshot, type Trained, type TrainOptions, type TrainPoint, train } from "./train.ts";
import { withState } from "./trainer.ts";

/**
 * How long to train; by minutes, the first updates show how many there will be, and by multiply-accumulates, forward and
 * backward, what one of them takes.
 */
export type Length =
  | { readonly updates: number }
  | { readonly epochs: number }
  | { readonly minutes: number }
  | { readonly macs: number };

/** How to train, whatever the model and the data. */
export interface TrainingSettings {
  readonly length: Length;
  /** Samples of an update; default 128. */
  readonly batchSize?: number;
  /** Samples of one run of the step, where an update must be put together from several for want of memory. */
  readonly runSize?: number;
  /** The optimiser at a weight decay; default AdamW. */
  readonly optimiser?: (decay: number) => Optimiser;
  readonly rate?: number;
  /** Default: a rise over the first twentieth, then half a cosine. */
  readonly schedule?: RateSchedule;
  /** Weight decay of matrices, tables and offsets; default 0. */
  readonly decay?: number;
  /** Decays scales, shifts and biases too. */
  readonly decayVectors?: boolean;
  /** Factor on the rate by kind of parameter. */
  readonly rates?: Readonly<Partial<Record<ParameterKind, number>>>;
  readonly clip?: number;
  /** Ends with a running mean of the parameters that forgets at this rate per update (0.99, say). */
  readonly average?: number;
  readonly augment?: Augment;
  /**
   * What norms with running statistics use: those of the batch, by which they follow the data, or what they have. Default:
   * the batch where it has at least 16 samples.
   */
  readonly norms?: "batch" | "running";
  readonly seed?: number;
}

export interface TrainGraphOptions
  extends TrainingSettings,
    Job,
    Pick<TrainOptions, "labels" | "feeds" | "keep" | "resume" | "phase" | "until"> {
  readonly runtime: Runtime;
  /** Its batch may be open; a fixed one is what a run of the step takes. */
  readonly graph: Graph;
  /** Inputs by the names that they have in the graph. */
  readonly data: IndexedDataset;
  readonly objective: Objective;
  readonly parameters: readonly Parameter[];
  /** Re-parameterisations, whose own tensors are trained beside the parameters; they are merged in the end. */
  readonly uses?: readonly Use[];
  /**
   * A number that a re-parameterisation asks the caller for, at a point of the run, 0 to 1; needs a length that is not in
   * minutes.
   */
  readonly fed?: (asked: Pick<Fed, "kind" | "parameters">, point: number) => number;
  /** Masks by parameter: what is 0 stays zero. */
  readonly masks?: ReadonlyMap<string, HostTensor>;
  /** Masks that move while the network learns, in the place of `masks`; needs a length that is not in minutes. */
  readonly follow?: (definition: StepDefinition, updates: number) => Followed;
  /** Other data whose loss is measured on the way: the graph ends with the parameters of the best moment. */
  readonly heldOut?: Pick<HeldOut, "data" | "every" | "patience">;
  /** Nodes that are trained, of a graph that has others beside them; all unless told. */
  readonly learns?: (node: Node) => boolean;
}

/** What a run follows: masks before its first update, and what happens after each. */
export interface Followed extends Required<Pick<TrainOptions, "afterUpdate">> {
  readonly masks: ReadonlyMap<string, HostTensor>;
}

/** What training gave. */
export interface TrainedGraph {
  readonly graph: Graph;
  readonly last: RunSnapshot;
  readonly points: readonly TrainPoint[];
  readonly updates: number;
  readonly epochs: number;
  /** Samples that were fed, each time that they were. */
  readonly samples: number;
  readonly seconds: number;
  readonly work: Trained["work"];
  /** The moment whose parameters these are, where there is held-out data. */
  readonly best?: { readonly update: number; readonly loss: number };
}

/** Fewer samples than this have statistics that are too much of a chance. */
const FEWEST = 16;

const vectors: ReadonlySet<ParameterKind> = new Set(["bias", "scale", "shift"]);

/** Trains a graph on data; gives the graph with other parameters, in their own types. */
export async function trainGraph(options: TrainGraphOptions): Promise<TrainedGraph> {
  const { runtime, graph, data, average, seed = 0, uses = [] } = options;
  if (options.parameters.length === 0 && uses.length === 0) throw nothingToTrain(graph);
  const { runSize, accumulate } = sizesOf(options);
  const { norms = runSize >= FEWEST ? "batch" : "running" } = options;
  const model = await sized(graph, runtime, inputTypes(graph, data, runSize));
  const changed = uses.length === 0 ? null : await reparameterised(model, uses);
  const brought = (changed?.trained ?? []).map((name): Parameter => ({ name, kind: "matrix" }));
  const parameters = [...options.parameters, ...brought];
  const definition: StepDefinition = {
    ...options,
    model: changed?.model ?? model,
    channelBlock: runtime.channelBlock,
    loss: options.objective,
    groups: groupsOf(options, parameters),
    accumulate,
    ...(norms === "batch" ? { prepare: (g: Algebra) => trainingMode(g, options.learns) } : {}),
  };
  const { length } = options;
  const perEpoch = Math.max(1, Math.floor(data.count / (runSize * accumulate)));
  const planned = "minutes" in length ? length : updatesIn(length, definition, perEpoch);
  const followed = typeof planned === "number" ? options.follow?.(definition, planned) : undefined;
  const heldOut = await heldOutOf(options, definition, runSize);
  const { heldOut: _, ...rest } = options;
  const runs = typeof planned === "number" ? planned * accumulate : Number.NaN;
  const beside = (run: number): Feeds =>
    new Map([...(options.feeds?.(run) ?? []), ...(changed === null ? [] : fedTo(changed, options, run, run / runs))]);
  const trained = await train({
    ...rest,
    ...(heldOut === undefined ? {} : { heldOut }),
    steps: trainSteps(followed === undefined ? definition : { ...definition, masks: followed.masks }),
    ...(followed === undefined ? {} : { afterUpdate: followed.afterUpdate }),
    data: options.labels === undefined ? data : withinClasses(data, model),
    seed,
    feeds: beside,
    rate: options.rate ?? 1e-3,
    batchSize: runSize,
    updates: planned,
    schedule: options.schedule ?? warmedUp(0.05, cosineRate()),
  });
  const { updates } = trained.last;
  const all = trained.last.tensors;
  const best = bestPoint(trained.points);
  const tensors =
    best !== undefined
      ? remembered(all, heldOut?.keep ?? [], bestName)
      : average === undefined
        ? all
        : remembered(all, names(parameters), (name) => slotName("average", name));
  const end = updates * accumulate;
  const merged =
    changed === null ? [] : await changed.harden(runtime, tensors, fedTo(changed, options, end, end / runs));
  return {
    graph: withState(graph, new Map([...tensors, ...merged])),
    last: trained.last,
    points: trained.points,
    updates,
    epochs: updates / perEpoch,
    samples: trained.work.samples,
    seconds: trained.seconds,
    work: trained.work,
    ...(best === undefined ? {} : { best: { update: best.update, loss: best.reports.get(heldOutName) ?? Number.NaN } }),
  };
}

/** What re-parameterisations are fed at a run: what they draw, and numbers of the caller. */
function fedTo(changed: Reparameterised, { fed, seed = 0 }: TrainGraphOptions, run: number, point: number): Feeds {
  const feeds = new Map(changed.feeds(run, seed));
  for (const asked of changed.fed) {
    if (fed === undefined || feeds.has(asked.input)) continue;
    feeds.set(asked.input, float32Tensor(asked.shape, new Float32Array(sizeOf(asked.shape)).fill(fed(asked, point))));
  }
  return feeds;
}

/** How many updates a length is, at least one. */
function updatesIn(
  length: Exclude<Length, { readonly minutes: number }>,
  definition: StepDefinition,
  perEpoch: number,
): number {
  if ("updates" in length) return length.updates;
  if ("epochs" in length) return Math.max(1, Math.round(length.epochs * perEpoch));
  const each = trainSteps(definition).reduce((sum, { work }) => sum + work.forwardMacs + work.backwardMacs, 0);
  return Math.max(1, Math.floor(length.macs / Math.max(1, each)));
}

/** How many samples one run takes, and how many runs make an update. */
function sizesOf({ graph, data, batchSize = 128, runSize }: TrainGraphOptions): {
  readonly runSize: number;
  readonly accumulate: number;
} {
  const first = graph.inputs.map(({ dims }) => dims?.[0]).find((dim) => typeof dim === "number");
  const fixed = data.batch ?? (typeof first === "number" ? first : undefined);
  const size = Math.min(fixed ?? runSize ?? batchSize, fixed ?? data.count);
  return { runSize: size, accumulate: Math.max(1, Math.round(Math.min(batchSize, data.count) / size)) };
}

/** The data, which throws `data` at a label that the first output has no class for. */
function withinClasses(data: IndexedDataset, { graph, types }: SizedGraph): IndexedDataset {
  const output = graph.outputs[0]?.name ?? "";
  const classes = types.get(output)?.shape.at(-1) ?? 0;
  return {
    ...data,
    gather: async (positions) => {
      const batch = await data.gather(positions);
      const beyond = batch.labels?.find((label) => label >= classes);
      if (beyond === undefined) return batch;
      const message = `expected labels below ${classes}, the classes of output "${output}", got ${beyond}.`;
      throw new EspalierError("data", data.description, message, "Labels and model must come from the same task.");
    },
  };
}

/** Types of the inputs at so many samples. Throws `data` for an input that the data does not feed. */
function inputTypes(graph: Graph, data: IndexedDataset, samples: number): ReadonlyMap<string, TensorType> {
  return new Map(
    graph.inputs.map(({ name }) => {
      const feature = data.features.get(name);
      if (feature === undefined) {
        const known = [...data.features.keys()].slice(0, 5).join(", ");
        throw new EspalierError("data", `input "${name}"`, `expected data of this name, got ${known}.`);
      }
      return [name, { dtype: feature.dtype, shape: [samples, ...feature.shape] }];
    }),
  );
}

/** Parameters with the same decay and rate go together; vectors do not decay unless told. */
function groupsOf(options: TrainGraphOptions, parameters: readonly Parameter[]): readonly ParameterGroup[] {
  const { optimiser = (decay) => adamW({ decay }), decay = 0, decayVectors = false, rates = {} } = options;
  const groups = new Map<string, { readonly decay: number; readonly rate: number; readonly names: string[] }>();
  for (const { name, kind } of parameters) {
    const own = { decay: decayVectors || !vectors.has(kind) ? decay : 0, rate: rates[kind] ?? 1 };
    const key = `${own.decay} ${own.rate}`;
    const group = groups.get(key) ?? { ...own, names: [] };
    groups.set(key, group);
    group.names.push(name);
  }
  return [...groups.values()].map((group) => ({
    parameters: group.names,
    optimiser: optimiser(group.decay),
    rate: group.rate,
  }));
}

/** The state with what was remembered of tensors in their place. */
function remembered(
  tensors: ReadonlyMap<string, HostTensor>,
  wanted: readonly string[],
  nameOf: (tensor: string) => string,
): ReadonlyMap<string, HostTensor> {
  const found = new Map(tensors);
  for (const name of wanted) {
    const kept = tensors.get(nameOf(name));
    if (kept !== undefined) found.set(name, kept);
  }
  return found;
}

const names = (parameters: readonly Parameter[]): readonly string[] => parameters.map(({ name }) => name);

/** The loss on held-out data as a step of the same state, and what is remembered of the best moment. */
async function heldOutOf(
  { runtime, graph, heldOut, average, uses = [] }: TrainGraphOptions,
  definition: StepDefinition,
  runSize: number,
): Promise<HeldOut | undefined> {
  if (heldOut === undefined) return undefined;
  if (uses.length > 0 || average !== undefined) {
    const message = "expected neither re-parameterisations nor a running mean beside held-out data.";
    throw new EspalierError("request", "held-out data", message, "Leave out one of them.");
  }
  const { data } = heldOut;
  const batchSize = Math.min(runSize, data.count);
  const model = await sized(graph, runtime, inputTypes(graph, data, batchSize));
  const step = lossStep({ ...definition, model });
  const trained = definition.groups.flatMap(({ parameters }) => parameters);
  const { prepare } = definition;
  const statistics = prepare === undefined ? [] : [...prepare(algebra(definition.model)).keys()];
  return { ...heldOut, step, batchSize, keep: [...trained, ...statistics] };
}

function nothingToTrain(graph: Graph): EspalierError {
  return new EspalierError(
    "request",
    `graph "${graph.name}"`,
    "expected at least one parameter to train, got none.",
    "Look at what is frozen; a model without trained matrices cannot be trained.",
  );
}
