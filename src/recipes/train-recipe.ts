import * as z from "zod";
import type { IndexedDataset } from "../data/dataset.ts";
import type { Graph } from "../graph/graph.ts";
import { analyse } from "../models/analysis.ts";
import { type Model, withGraph } from "../models/model.ts";
import { matcher } from "../plans/ignore.ts";
import { forLabels, learningShape, trainingSettings } from "../plans/learning.ts";
import { beside } from "../recovery/beside.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { judge, type Metric } from "../stats/answers/metric.ts";
import { EspalierError } from "../tensor/error.ts";
import { type Job, step } from "../tensor/progress.ts";
import { crossEntropy, distillation, nextToken } from "../train/objectives/losses.ts";
import { initialise } from "../train/parameters/initialise.ts";
import { trainable } from "../train/parameters/trainable.ts";
import type { Objective } from "../train/step.ts";
import type { Keeping, RunSnapshot } from "../train/train.ts";
import { trainGraph } from "../train/train-graph.ts";
import { recordOf, type TrainingRecord } from "../train/training-record.ts";
import { data, dataShape, jobShape, type Part, parseYaml } from "./recipe-file.ts";

const schemes = ["kaiming-normal", "kaiming-uniform", "xavier-normal", "xavier-uniform", "pytorch"] as const;

const shape = {
  ...jobShape,
  initialise: z.enum(schemes).optional(),
  training: data,
  evaluation: data.optional(),
  "held-out": data.optional(),
  "held-out-every": z.int().min(1).optional(),
  patience: z.int().min(1).optional(),
  objective: z.enum(["cross-entropy", "next-token", "distill"]).optional(),
  smoothing: z.number().min(0).max(1).optional(),
  teacher: z.string().optional(),
  train: z.strictObject(learningShape).optional(),
  snapshot: z.number().min(0).optional(),
};

const recipe = z.strictObject(shape);

/** What a recipe of a training says, checked. */
export type TrainRecipe = z.infer<typeof recipe>;

const parts: readonly Part[] = [
  { name: "train", keys: Object.keys(learningShape), holds: ([first]) => first === "train" },
  {
    name: "training, evaluation and held-out",
    keys: Object.keys(dataShape),
    holds: ([first]) => first === "training" || first === "evaluation" || first === "held-out",
  },
  { name: "the recipe itself", keys: Object.keys(shape), holds: () => true },
];

/** Reads a recipe of a training. Throws `request` with line and column of the first thing that is wrong. */
export function parseTrainRecipe(text: string, file: string): TrainRecipe {
  return parseYaml(text, file, recipe, parts);
}

/** What decides the bytes of a training besides the model: two runs with the same are one run. */
export function requestOf(
  { out, report, device, threads, snapshot, ...rest }: TrainRecipe,
  given: IndexedDataset,
): string {
  return JSON.stringify({ ...rest, data: given.description, samples: given.count });
}

export interface TrainModelOptions extends Job {
  readonly runtime: Runtime;
  readonly training: IndexedDataset;
  readonly evaluation?: IndexedDataset | null;
  /** Not learnt from: the model gets the parameters of the moment when its loss was lowest. */
  readonly heldOut?: IndexedDataset | null;
  /** The model that teaches, for the objective "distill". */
  readonly teacher?: Model | null;
  readonly keep?: Keeping;
  readonly resume?: RunSnapshot;
  readonly command?: string;
}

/** What a training gave. */
export interface TrainReport {
  readonly model: string;
  readonly command: string;
  readonly objective: string;
  readonly seed: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly device: { readonly name: string; readonly threads: number };
  readonly training: TrainingRecord;
  /** What the labels of the evaluation data say; null without labels. */
  readonly metric: Metric | null;
}

/** Trains a model as a recipe says, from the parameters that it has or from drawn ones. The given model is not changed. */
export async function trainModel(
  model: Model,
  given: TrainRecipe,
  options: TrainModelOptions,
): Promise<{ readonly model: Model; readonly report: TrainReport }> {
  const { runtime, training, evaluation = null, keep, resume } = options;
  const {
    seed = 0,
    objective = "cross-entropy",
    train: learning = {},
    "held-out-every": every = 100,
    patience,
  } = given;
  const { heldOut = null } = options;
  step(options, "analyse", 0, 1);
  const { matrices } = await analyse(model.onnx.graph, runtime);
  const start =
    given.initialise === undefined
      ? model.onnx.graph
      : initialise(model.onnx.graph, matrices, { seed, scheme: given.initialise }).graph;
  const all = await trainable(start, matrices);
  const frozen = matcher(learning.freeze ?? [], "freeze");
  const parameters = all.filter(({ name }) => !frozen(name));
  if (objective === "cross-entropy" && !training.labelled) throw unlabelled(training);
  // Text has a label for each place; of prompts with responses, or where windows overlap, not every token counts.
  const labelled = objective === "cross-entropy" || (objective === "next-token" && training.labelShape?.length === 1);
  const { teacher } = options;
  const graph = objective === "distill" ? beside(taught(teacher).onnx.graph, start).graph : start;
  const done = await trainGraph({
    length: { epochs: 10 },
    ...trainingSettings(objective === "distill" ? learning : forLabels(learning)),
    runtime,
    graph,
    data: training,
    parameters,
    seed,
    objective: objectiveOf(given, start, labelled),
    learns: (node) => node.inputs.some((name) => start.constants.has(name)),
    phase: "train",
    ...(labelled ? { labels: labelInput } : {}),
    ...(heldOut === null ? {} : { heldOut: { data: heldOut, every, ...(patience === undefined ? {} : { patience }) } }),
    ...(keep === undefined ? {} : { keep }),
    ...(resume === undefined ? {} : { resume }),
    ...(options.progress === undefined ? {} : { progress: options.progress }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const constants = new Map(start.constants);
  for (const name of constants.keys()) {
    const ref = done.graph.constants.get(name);
    if (ref !== undefined) constants.set(name, ref);
  }
  const trained = withGraph(model, { ...start, constants });
  const measure = async (one: Model) =>
    evaluation === null ? null : judge(runtime, one.onnx.graph, evaluation, { ...options, batchSize: 64 });
  const [before, after] = [await measure(withGraph(model, start)), await measure(trained)];
  return {
    model: trained,
    report: {
      model: model.name,
      command: options.command ?? "",
      objective,
      seed,
      versions: { [runtime.device]: runtime.version },
      device: { name: runtime.device, threads: runtime.threads },
      training: recordOf(
        "train",
        { data: training.description, graph: start, trained: parameters, trainable: all },
        done,
      ),
      metric:
        before === null || after === null
          ? null
          : { name: after.name, before: before.value, after: after.value, n: after.n },
    },
  };
}

const labelInput = "espalier/labels";

function objectiveOf(
  { objective = "cross-entropy", smoothing, train }: TrainRecipe,
  graph: Graph,
  labelled: boolean,
): Objective {
  const tokens = tokensOf(graph);
  return ({ g, outputs: [logits, ...others], input, of }) => {
    if (logits === undefined || logits.shape.length < 2) {
      const message = "expected a first output of classes, [samples, classes].";
      throw new EspalierError("request", `output "${logits?.name ?? ""}"`, message);
    }
    const answer = g.cast(logits, "f32");
    const spread = smoothing === undefined ? {} : { smoothing };
    if (labelled) return crossEntropy(g, answer, input(labelInput, "i32", logits.shape.slice(0, -1)), spread);
    if (objective === "distill") {
      const target = others[graph.outputs.length - 1];
      if (target === undefined) throw new EspalierError("request", "teacher", "expected an answer, got none.");
      return distillation(g, answer, g.cast(target, "f32"), train?.temperature ?? 4);
    }
    if (tokens === undefined) {
      throw new EspalierError(
        "request",
        "next-token",
        "expected an input of tokens, integers [batch, time], got none.",
      );
    }
    return nextToken(g, answer, g.cast(of(tokens), "i32"));
  };
}

/** The input that holds tokens, by what it is. */
function tokensOf(graph: Graph): string | undefined {
  return graph.inputs.find(({ dtype, dims }) => (dtype === "i64" || dtype === "i32") && dims?.length === 2)?.name;
}

function unlabelled({ description }: IndexedDataset): EspalierError {
  const hint = "Give labels, or another objective: next-token, or distill with a teacher.";
  return new EspalierError("data", description, "expected labels to train on, got none.", hint);
}

function taught(teacher: Model | null | undefined): Model {
  if (teacher !== null && teacher !== undefined) return teacher;
  throw new EspalierError(
    "request",
    "teacher",
    "expected a model that teaches, got none.",
    "Name it: teacher: big.onnx.",
  );
}
