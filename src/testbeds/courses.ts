import type { Graph } from "../graph/graph.ts";
import { analyse } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { initialise } from "../train/initialise.ts";
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

const convolutional: Lessons = {
  epochs: 20,
  batchSize: 64,
  optimiser: "adamW",
  rate: 3e-3,
  warmUp: 0.05,
  decay: 0.05,
  smoothing: 0,
  jitter: { pad: 0, flip: false },
};

/** Every testbed that is trained here. */
export const courses: ReadonlyMap<string, CoursePlan> = new Map([
  ["glyphs-mlp", { pictures: "glyphs", blueprint: glyphModels.mlp, lessons: { ...convolutional, rate: 1e-3 } }],
  ["glyphs-lenet5", { pictures: "glyphs", blueprint: glyphModels.lenet5, lessons: convolutional }],
  ["glyphs-vgg", { pictures: "glyphs", blueprint: glyphModels.vgg, lessons: convolutional }],
  ["glyphs-resnet8", { pictures: "glyphs", blueprint: glyphModels.resnet8, lessons: convolutional }],
  ["glyphs-resnet20", { pictures: "glyphs", blueprint: glyphModels.resnet20, lessons: convolutional }],
  ["glyphs-mobilenet", { pictures: "glyphs", blueprint: glyphModels.mobilenet, lessons: convolutional }],
  ["glyphs-vit", { pictures: "glyphs", blueprint: glyphModels.vit, lessons: convolutional }],
  ["glyphs-lstm", { pictures: "glyphs", blueprint: glyphModels.lstm, lessons: convolutional }],
  ["mnist-mlp", { pictures: "mnist", blueprint: glyphModels.mlp, lessons: { ...convolutional, rate: 1e-3 } }],
  ["mnist-lenet5", { pictures: "mnist", blueprint: glyphModels.lenet5, lessons: convolutional }],
  ["cifar10-resnet20", { pictures: "cifar10", blueprint: cifarResnet20, lessons: convolutional }],
] satisfies readonly (readonly [string, CoursePlan])[]);

/** The model of a blueprint before training, its parameters drawn by the seed. */
export async function untrained(blueprint: Blueprint, runtime: Runtime, seed: number): Promise<Graph> {
  const { scheme, normal } = blueprint;
  const { graph, matrices } = await analyse(blueprint.graph(), runtime);
  return initialise(graph, matrices, { seed, scheme, ...(normal === undefined ? {} : { normal }) }).graph;
}
