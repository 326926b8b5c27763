import type { Graph } from "../graph/graph.ts";
import { analyse } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { initialise } from "../train/parameters/initialise.ts";
import type { Lessons } from "./learn.ts";
import { type Blueprint, cifarResnet20, glyphModels } from "./models/blueprints.ts";

/** Sets of labelled pictures that can be opened by name. */
export type PictureSet = "glyphs" | "mnist" | "cifar10";

/** How one testbed's model is made from nothing. */
export interface CoursePlan {
  readonly pictures: PictureSet;
  readonly blueprint: Blueprint;
  readonly lessons: Lessons;
}

const lessons: Lessons = {
  epochs: 12,
  batchSize: 64,
  optimiser: "adamW",
  rate: 3e-3,
  warmUp: 0.05,
  decay: 0.05,
  smoothing: 0,
  jitter: { pad: 0, flip: false },
};

const onGlyphs = (blueprint: Blueprint, changes: Partial<Lessons> = {}): CoursePlan => ({
  pictures: "glyphs",
  blueprint,
  lessons: { ...lessons, ...changes },
});

const { mlp, lenet5, vgg, resnet8, resnet8Narrow, resnet20, mobilenet, vit, lstm } = glyphModels;

/** Every testbed that is trained here. */
export const courses: ReadonlyMap<string, CoursePlan> = new Map([
  ["glyphs-mlp", onGlyphs(mlp, { rate: 1e-3 })],
  ["glyphs-lenet5", onGlyphs(lenet5)],
  ["glyphs-vgg", onGlyphs(vgg, { epochs: 5 })],
  ["glyphs-resnet8", onGlyphs(resnet8, { epochs: 8 })],
  // As papers on convolutional networks train theirs, in seconds.
  ["glyphs-narrow", onGlyphs(resnet8Narrow, { epochs: 8, optimiser: "sgd", rate: 0.1, decay: 5e-4 })],
  ["glyphs-resnet20", onGlyphs(resnet20, { epochs: 6 })],
  ["glyphs-mobilenet", onGlyphs(mobilenet, { epochs: 12 })],
  ["glyphs-vit", onGlyphs(vit, { epochs: 20, rate: 2e-3, warmUp: 0.1 })],
  ["glyphs-lstm", onGlyphs(lstm, { epochs: 20, rate: 5e-3 })],
  ["mnist-mlp", { pictures: "mnist", blueprint: mlp, lessons: { ...lessons, rate: 1e-3 } }],
  ["mnist-lenet5", { pictures: "mnist", blueprint: lenet5, lessons: { ...lessons, epochs: 8 } }],
  [
    "cifar10-resnet20",
    {
      pictures: "cifar10",
      blueprint: cifarResnet20,
      lessons: { ...lessons, epochs: 40, jitter: { pad: 4, flip: true } },
    },
  ],
]);

/** The model of a blueprint before training, its parameters drawn by the seed. */
export async function untrained(blueprint: Blueprint, runtime: Runtime, seed: number): Promise<Graph> {
  return redrawn(blueprint, blueprint.graph(), runtime, seed);
}

/** A graph of a blueprint, whole or cut, its parameters drawn anew by the fans that it has. */
export async function redrawn(
  { scheme, normal = new Map() }: Blueprint,
  given: Graph,
  runtime: Runtime,
  seed: number,
): Promise<Graph> {
  const { graph, matrices } = await analyse(given, runtime);
  return initialise(graph, matrices, { seed, scheme, normal }).graph;
}
