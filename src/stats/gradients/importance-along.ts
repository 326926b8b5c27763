import { sized } from "../../autodiff/sized.ts";
import type { IndexedDataset } from "../../data/dataset.ts";
import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import type { Graph, TensorType } from "../../graph/graph.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import type { Job } from "../../tensor/progress.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { classAxis, taskLoss } from "../../train/objectives/task-loss.ts";
import type { Optimiser } from "../../train/optimisers/optimiser.ts";
import { linearRate, warmedUp } from "../../train/rates.ts";
import { slotName, trainSteps } from "../../train/step.ts";
import { train } from "../../train/train.ts";

/**
 * How much an anchor pulls: s of g + s · G ∘ g² is λ · 2 · rate² / 1000 as in D-Pruner's code, or makes the term that share of g in each
 * matrix.
 */
export type AnchorStrength = { readonly lambda: number } | { readonly share: number };

/** A short training along which the importance of weights is added up; its end is thrown away. */
export interface PathSettings {
  readonly epochs: number;
  readonly batchSize: number;
  /** Highest rate of plain gradient descent; it rises over the first tenth and falls to 0 in a line. */
  readonly rate: number;
  /** Most that the norm of all gradients together may be. */
  readonly clip: number;
  /**
   * What removal of w changes by an expansion of the loss: g·w − (g·w)² / 2N over N samples, or with the signs and the cube of w
   * that D-Pruner's code has.
   */
  readonly expansion: "second-order" | "published-code";
  /** Scores G of other data hold weights where they are. */
  readonly anchor?: { readonly strength: AnchorStrength };
}

export interface AlongOptions extends Job {
  readonly seed: number;
  /** Scores G of the anchor, in the layout of their parameters. */
  readonly anchors?: ReadonlyMap<string, HostTensor>;
}

const labelInput = "labels of the path";
const slot = "importance";

/**
 * Adds up, along a short training of all these parameters, what removing each weight would change the loss by at the moment, by
 * parameter. The loss is the cross-entropy with the labels of the data, or with the model's own most likely classes where it has
 * none. The graph is not changed.
 */
export async function importanceAlong(
  runtime: Runtime,
  graph: Graph,
  parameters: readonly string[],
  data: IndexedDataset,
  path: PathSettings,
  { seed, anchors = new Map(), ...job }: AlongOptions,
): Promise<ReadonlyMap<string, Float32Array>> {
  const batchSize = data.batch ?? Math.min(path.batchSize, data.count);
  const types = new Map(
    [...data.features].map(([name, { dtype, shape }]): [string, TensorType] => [
      name,
      { dtype, shape: [batchSize, ...shape] },
    ]),
  );
  const model = await sized(graph, runtime, types);
  const steps = trainSteps({
    model,
    clip: path.clip,
    groups: parameters.map((name) => ({
      parameters: [name],
      optimiser: recording(path, data.count, anchors.get(name)),
    })),
    loss: ({ g, outputs: [logits], input }) => {
      if (logits === undefined) throw new EspalierError("model", graph.name, "expected an output, got none.");
      const classes = classAxis(logits.shape);
      const rows = logits.shape.filter((_, axis) => axis !== classes);
      return taskLoss(g, logits, data.labelled ? input(labelInput, "i32", rows) : null);
    },
  });
  const { last } = await train({
    ...job,
    runtime,
    steps,
    data,
    batchSize,
    ...(data.labelled ? { labels: labelInput } : {}),
    updates: Math.max(1, Math.round(path.epochs * Math.floor(data.count / batchSize))),
    rate: path.rate,
    schedule: warmedUp(0.1, linearRate()),
    seed,
    phase: "path",
  });
  const found = new Map<string, Float32Array>();
  for (const name of parameters) {
    const sum = last.tensors.get(slotName(slot, name));
    if (sum !== undefined) found.set(name, toFloat32(sum));
  }
  return found;
}

/** Plain gradient descent that remembers what removal of each weight would have changed, before it moves. */
function recording({ anchor, expansion }: PathSettings, samples: number, scores: HostTensor | undefined): Optimiser {
  return {
    id: "recording",
    slots: [slot],
    numbers: () => ({}),
    update: (g, { parameter, gradient, slot: remembered, number }) => {
      const rate = number("rate");
      const pull = anchor === undefined ? gradient : held(g, gradient, rate, anchor.strength, scores);
      const first = g.mul(pull, parameter);
      const second = g.div(g.square(first), 2 * samples);
      const change =
        expansion === "second-order"
          ? g.sub(first, second)
          : g.add(g.add(first, second), g.mul(g.square(parameter), parameter));
      const sum = g.add(remembered(slot), g.map("Abs", change));
      return { parameter: g.sub(parameter, g.mul(pull, rate)), slots: new Map([[slot, sum]]) };
    },
  };
}

/** The gradient with the pull of the anchor. */
function held(
  g: Algebra,
  gradient: Value,
  rate: Value,
  strength: AnchorStrength,
  scores: HostTensor | undefined,
): Value {
  if (scores === undefined) return gradient;
  const pull = g.mul(g.constant(scores, "anchor"), g.square(gradient));
  if ("lambda" in strength) {
    return g.add(gradient, g.mul(pull, g.mul(g.square(rate), (2 * strength.lambda) / 1000)));
  }
  const norm = (value: Value): Value => g.sqrt(g.reduce("ReduceSumSquare", value));
  const factor = g.div(g.mul(norm(gradient), strength.share), g.max(norm(pull), 1e-30));
  return g.add(gradient, g.mul(pull, factor));
}
