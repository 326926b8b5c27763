import type { Graph } from "../graph/graph.ts";
import { sizeOf } from "../tensor/tensor.ts";
import type { Parameter } from "./parameters/trainable.ts";
import type { TrainPoint } from "./train.ts";
import type { TrainedGraph } from "./train-graph.ts";

/** What a training did, for reports. */
export interface TrainingRecord {
  /** The recovery, or "train". */
  readonly name: string;
  readonly data: string;
  readonly updates: number;
  readonly epochs: number;
  /** Samples that were fed, each time that they were. */
  readonly samples: number;
  readonly seconds: number;
  /** Numbers that were trained, of all that can be. */
  readonly trained: number;
  readonly trainable: number;
  readonly forwardMacs: number;
  readonly backwardMacs: number;
  readonly points: readonly TrainingPoint[];
  /** The moment with the lowest loss on held-out data, whose parameters the model has. */
  readonly best?: { readonly update: number; readonly loss: number };
}

/** One point of the curves. */
export interface TrainingPoint {
  readonly update: number;
  readonly rate: number;
  /** "loss" and its parts. */
  readonly values: Readonly<Record<string, number>>;
}

/** What was trained, and on what. */
interface Subject {
  readonly data: string;
  readonly graph: Graph;
  readonly trained: readonly Parameter[];
  readonly trainable: readonly Parameter[];
}

/** Tells of a training. */
export function recordOf(name: string, { data, graph, ...subject }: Subject, done: TrainedGraph): TrainingRecord {
  const { updates, epochs, samples, seconds, work, points } = done;
  return {
    name,
    data,
    updates,
    epochs,
    samples,
    seconds,
    trained: sizeIn(graph, subject.trained),
    trainable: sizeIn(graph, subject.trainable),
    forwardMacs: work.forwardMacs,
    backwardMacs: work.backwardMacs,
    points: thinned(points),
    ...(done.best === undefined ? {} : { best: done.best }),
  };
}

function sizeIn(graph: Graph, parameters: readonly Parameter[]): number {
  return parameters.reduce((sum, { name }) => sum + sizeOf(graph.constants.get(name)?.shape ?? [0]), 0);
}

/** So many points at most, each with the means of its stretch. */
const POINTS = 300;

function thinned(points: readonly TrainPoint[]): readonly TrainingPoint[] {
  const stretch = Math.ceil(points.length / POINTS);
  const found: TrainingPoint[] = [];
  for (let start = 0; start < points.length; start += stretch) {
    const part = points.slice(start, start + stretch);
    const last = part.at(-1);
    if (last === undefined) continue;
    const mean = (name: string): number => {
      const having = part.map(({ reports }) => reports.get(name)).filter((value) => value !== undefined);
      return having.reduce((sum, value) => sum + value, 0) / having.length;
    };
    const names = new Set(part.flatMap(({ reports }) => [...reports.keys()]));
    const values = Object.fromEntries([...names].map((name) => [name, mean(name)]));
    found.push({ update: last.update, rate: last.rate, values });
  }
  return found;
}
