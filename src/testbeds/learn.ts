import { sized } from "../autodiff/sized.ts";
import { trainingMode } from "../autodiff/training-mode.ts";
import { jitter } from "../data/changes/jitter.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import { analyse } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { EspalierError } from "../tensor/error.ts";
import type { Job } from "../tensor/progress.ts";
import { crossEntropy } from "../train/objectives/losses.ts";
import { optimisers } from "../train/optimisers/registry.ts";
import { parameterRoles } from "../train/parameters/parameter-roles.ts";
import { cosineRate, warmedUp } from "../train/rates.ts";
import { type ParameterGroup, trainSteps } from "../train/step.ts";
import { type Trained, train } from "../train/train.ts";
import { withState } from "../train/trainer.ts";

/** How a classifier of a testbed is trained: everything but the data and the seed. */
export interface Lessons {
  readonly epochs: number;
  readonly batchSize: number;
  readonly optimiser: "sgd" | "adamW";
  /** The largest learning rate, reached after the warm-up; it then falls to 0 along a cosine. */
  readonly rate: number;
  /** Share of the run in which the rate rises. */
  readonly warmUp: number;
  /** Weight decay of matrices and tables; biases and norms have none. */
  readonly decay: number;
  readonly smoothing: number;
  /** How pictures are moved and mirrored. */
  readonly jitter: { readonly pad: number; readonly flip: boolean };
}

export interface LearnOptions extends Job {
  readonly runtime: Runtime;
  readonly seed: number;
  /** Parameters that no role names but that are trained. */
  readonly more?: readonly string[];
}

/** Trains a classifier, logits [batch, classes], from the parameters that it has. Throws `data` without labels. */
export async function learn(
  graph: Graph,
  data: IndexedDataset,
  lessons: Lessons,
  options: LearnOptions,
): Promise<{ readonly graph: Graph; readonly trained: Trained }> {
  const { runtime, seed, more = [] } = options;
  const { batchSize, epochs, smoothing, rate, warmUp } = lessons;
  if (!data.labelled) throw new EspalierError("data", data.description, "expected labels to learn from, got none.");
  const inputs = new Map(
    [...data.features].map(([name, { dtype, shape }]): [string, TensorType] => [
      name,
      { dtype, shape: [batchSize, ...shape] },
    ]),
  );
  const { matrices } = await analyse(graph, runtime);
  const model = await sized(graph, runtime, inputs);
  const steps = trainSteps({
    model,
    channelBlock: runtime.channelBlock,
    prepare: trainingMode,
    groups: groupsOf(graph, matrices, lessons, more),
    loss: ({ g, outputs: [logits], input }) => {
      if (logits === undefined) throw new EspalierError("model", graph.name, "expected an output, got none.");
      return crossEntropy(g, logits, input(labelsName, "i32", [batchSize]), { smoothing });
    },
  });
  const trained = await train({
    ...options,
    runtime,
    steps,
    data,
    batchSize,
    labels: labelsName,
    updates: epochs * Math.floor(data.count / batchSize),
    rate,
    schedule: warmedUp(warmUp, cosineRate()),
    seed,
    augment: jitter(lessons.jitter),
  });
  return { graph: withState(graph, trained.last.tensors), trained };
}

const labelsName = "labels";

/** Two groups: what decays, and what does not. */
function groupsOf(
  graph: Graph,
  matrices: Parameters<typeof parameterRoles>[1],
  { optimiser, decay }: Lessons,
  more: readonly string[],
): readonly ParameterGroup[] {
  const decayed: string[] = [];
  const free: string[] = [...more];
  for (const [name, { kind }] of parameterRoles(graph, matrices)) {
    if (kind === "matrix" || kind === "table") decayed.push(name);
    else if (kind !== "mean" && kind !== "variance") free.push(name);
  }
  const made = (amount: number) =>
    optimiser === "sgd"
      ? optimisers.sgd({ momentum: 0.9, nesterov: true, decay: amount })
      : optimisers.adamW({ decay: amount });
  return [
    { parameters: decayed, optimiser: made(decay) },
    { parameters: free, optimiser: made(0) },
  ].filter(({ parameters }) => parameters.length > 0);
}
