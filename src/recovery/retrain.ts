import { gradient } from "../autodiff/gradient.ts";
import { sized } from "../autodiff/sized.ts";
import { algebra, type Value } from "../graph/algebra/algebra.ts";
import { captures } from "../graph/captures.ts";
import type { Graph } from "../graph/graph.ts";
import { useDef } from "../graph/uses.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { type HostTensor, load, sizeOf, type TensorRef } from "../tensor/tensor.ts";
import { crossEntropy, distillation, featureMatching } from "../train/objectives/losses.ts";
import { heads, type Parameter, type ParameterKind, trainable } from "../train/parameters/trainable.ts";
import type { Use } from "../train/reparameterisations/apply.ts";
import { lora } from "../train/reparameterisations/lora.ts";
import type { LossContext, Objective } from "../train/step.ts";
import { type TrainingSettings, trainGraph } from "../train/train-graph.ts";
import { recordOf } from "../train/training-record.ts";
import type { Recovery } from "./recovery.ts";
import { type Lesson, type Teacher, teacherFor } from "./teacher.ts";

/** Parts of a model that can be trained alone. */
export type Part = "norms" | "biases" | "head" | "matrices" | "tables";

const parts: Readonly<Record<Exclude<Part, "head">, readonly ParameterKind[]>> = {
  norms: ["scale", "shift"],
  biases: ["bias"],
  matrices: ["matrix"],
  tables: ["table", "offset"],
};

/** What a retraining learns from, and what of the model learns. */
export interface RetrainOptions {
  /** How: length, batch, rate; ten epochs unless told. */
  readonly settings?: Partial<TrainingSettings>;
  /** Weight of the teacher's answers. */
  readonly answers: number;
  /** Weight of the teacher's features. */
  readonly features: number;
  /** Weight of the labels. */
  readonly labels: number;
  /** Softens the teacher's answers. */
  readonly temperature: number;
  /** Trains these parts only. */
  readonly only?: readonly Part[];
  /** Adds the product of two thin matrices to each matrix, and trains these in its place. */
  readonly lora?: { readonly rank: number; readonly alpha: number };
  /** Parameters that stay as they are. */
  readonly frozen?: (name: string) => boolean;
}

const labelInput = "espalier/labels";

/**
 * Trains the pruned graph, taught by the original, by labels, or by both. Zeros of matrices stay zeros; parameters keep
 * their types. Throws `request` without inputs, `data` where labels are asked for and the data has none.
 */
export function retrain(id: string, options: RetrainOptions): Recovery {
  return {
    id,
    needsData: true,
    trains: true,
    check: async ({ runtime, original, training }) => {
      if (options.labels > 0 && training?.labelled === false) throw needsLabels(id, training.description);
      const { graph, inputs, matrices } = original;
      const g = algebra(await sized(graph, runtime, inputs));
      const answers = graph.outputs.filter(({ name }) => g.has(name) && isFloat(g.of(name).dtype));
      const loss = g.total(answers.map(({ name }) => g.sum(g.cast(g.of(name), "f32"))));
      const parameters = (await trainable(graph, matrices)).filter(({ name }) => g.has(name));
      gradient(
        g,
        loss,
        parameters.map(({ name }) => name),
        { unreached: "zero" },
      );
    },
    apply: async (context) => {
      const { runtime, pruned, job, training: data } = context;
      if (data === null || data === undefined) throw needsInputs(id);
      if (options.labels > 0 && !data.labelled) throw needsLabels(id, data.description);
      const shapes = new Map([...context.original.inputs].map(([name, { shape }]) => [name, shape]));
      const analysis = await analyse(pruned, runtime, { shapes });
      const all = await trainable(pruned, analysis.matrices);
      const taught = options.answers > 0 || options.features > 0;
      const teacher: Teacher = taught
        ? await teacherFor(context, analysis, data, options.features > 0)
        : { graph: pruned, lessons: [] };
      const lessons = teacher.lessons.filter(({ as }) => as === "features" || options.answers > 0);
      const judged = lessons.map(({ found }) => found);
      const answer = options.labels > 0 ? pruned.outputs.slice(0, 1).map(({ name }) => name) : [];
      const reached = ancestors(pruned, [...judged, ...answer]);
      const parameters = chosen(all, analysis, options).filter(({ name }) => reached.has(name));
      const fitted = await trainGraph({
        seed: context.seed ?? 0,
        length: { epochs: 10 },
        // What norms have seen belongs to the weights that were kept and refitted; a batch of changed inputs does not.
        norms: "running",
        ...options.settings,
        runtime,
        graph: teacher.graph,
        data,
        parameters,
        objective: objectiveOf(lessons, options),
        masks: await zeroMasks(pruned, parameters),
        uses: usesOf(
          pruned,
          all.filter(({ name }) => reached.has(name)),
          options,
        ),
        learns: (node) => node.inputs.some((name) => pruned.constants.has(name)),
        phase: `recover ${id}`,
        ...(options.labels > 0 ? { labels: labelInput } : {}),
        ...(job.progress === undefined ? {} : { progress: job.progress }),
        ...(job.signal === undefined ? {} : { signal: job.signal }),
      });
      context.record?.(
        recordOf(id, { data: data.description, graph: pruned, trained: parameters, trainable: all }, fitted),
      );
      return withTrained(pruned, fitted.graph);
    },
  };
}

/** The sum of what the teacher and the labels say, and its parts. */
function objectiveOf(lessons: readonly Lesson[], options: RetrainOptions): Objective {
  return (c) => {
    const { g } = c;
    const reports: Record<string, Value> = {};
    const terms: Value[] = [];
    const answers = lessons.filter(({ as }) => as !== "features");
    const features = lessons.filter(({ as }) => as === "features");
    const take = (name: string, weight: number, losses: readonly Value[]): void => {
      if (weight === 0 || losses.length === 0) return;
      const mean = g.mul(g.total(losses), 1 / losses.length);
      reports[name] = mean;
      terms.push(g.mul(mean, weight));
    };
    take(
      "answers",
      options.answers,
      answers.map((lesson) => gap(c, lesson, options.temperature)),
    );
    take(
      "features",
      options.features,
      features.map((lesson) => gap(c, lesson, options.temperature)),
    );
    if (options.labels > 0) take("labels", options.labels, [labelLoss(c)]);
    return { loss: g.total(terms), reports };
  };
}

function labelLoss({ g, outputs, input }: LossContext): Value {
  const [logits] = outputs;
  if (logits === undefined || logits.shape.length < 2) {
    const message = "expected a first output of classes, [samples, classes], to compare with labels.";
    throw new EspalierError("request", `output "${logits?.name ?? ""}"`, message);
  }
  return crossEntropy(g, g.cast(logits, "f32"), input(labelInput, "i32", logits.shape.slice(0, -1)));
}

/** How far what was found is from what the teacher gives. */
function gap({ g, of }: LossContext, { found, target, as }: Lesson, temperature: number): Value {
  const [a, b] = [of(found), of(target)].map((value) => g.cast(value, "f32"));
  if (a === undefined || b === undefined) throw new EspalierError("model", found, "expected a value to compare.");
  if (as === "values" || as === "features") return featureMatching(g, a, b);
  const logits = (value: Value): Value => (as === "logits" ? value : g.log(g.max(value, 1e-7)));
  return distillation(g, logits(a), logits(b), temperature);
}

function chosen(
  all: readonly Parameter[],
  { graph, matrices }: Analysis,
  options: RetrainOptions,
): readonly Parameter[] {
  const { only, frozen = () => false } = options;
  const head = only?.includes("head") === true ? heads(graph, matrices) : new Set<string>();
  const kinds = only === undefined ? null : new Set(only.flatMap((part) => (part === "head" ? [] : parts[part])));
  return all.filter(({ name, kind }) => !frozen(name) && (kinds === null || kinds.has(kind) || head.has(name)));
}

/** All values that these are computed from. */
function ancestors(graph: Graph, values: readonly string[]): ReadonlySet<string> {
  const { producer } = useDef(graph);
  const found = new Set<string>();
  const open = [...values];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    const node = producer(name)?.node;
    if (node !== undefined) open.push(...node.inputs, ...captures(node));
  }
  return found;
}

/** Low-rank updates beside the matrices, masked where these have zeros, so that merging keeps them. */
function usesOf(graph: Graph, all: readonly Parameter[], { lora: form, frozen = () => false }: RetrainOptions): Use[] {
  if (form === undefined) return [];
  return all
    .filter(
      ({ name, kind }) => kind === "matrix" && !frozen(name) && sizeOf(graph.constants.get(name)?.shape ?? []) > 1,
    )
    .map(({ name }) => ({ parameters: [name], by: lora({ ...form, masked: true }) }));
}

/** Masks of the matrices that have zeros: what is zero stays zero. */
async function zeroMasks(graph: Graph, parameters: readonly Parameter[]): Promise<ReadonlyMap<string, HostTensor>> {
  const masks = new Map<string, HostTensor>();
  for (const { name, kind } of parameters) {
    const ref = graph.constants.get(name);
    if (ref === undefined || (kind !== "matrix" && kind !== "table")) continue;
    const mask = toFloat32(await load(ref)).map((n) => (n === 0 ? 0 : 1));
    if (mask.includes(0)) masks.set(name, float32Tensor(ref.shape, mask));
  }
  return masks;
}

/** The pruned graph with the constants that were trained beside it. */
function withTrained(pruned: Graph, trained: Graph): Graph {
  const constants = new Map<string, TensorRef>(pruned.constants);
  for (const name of pruned.constants.keys()) {
    const ref = trained.constants.get(name);
    if (ref !== undefined) constants.set(name, ref);
  }
  return { ...pruned, constants };
}

function needsInputs(id: string): EspalierError {
  const hint = "Give unlabelled inputs with --train or --calib.";
  return new EspalierError("request", `recovery ${id}`, "expected inputs to train on, got none.", hint);
}

function needsLabels(id: string, data: string): EspalierError {
  const hint = "Give labelled inputs with --train, or recover with distill, which needs no labels.";
  return new EspalierError("data", data, `expected labels for recovery ${id}, got none.`, hint);
}
