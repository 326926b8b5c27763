import type { Graph } from "../../graph/graph.ts";
import type { InitialisationScheme } from "../../train/parameters/initialise.ts";
import type { PictureShape } from "./layers.ts";
import { lenet5 } from "./lenet5.ts";
import { lstm } from "./lstm.ts";
import { mlp } from "./mlp.ts";
import { mobilenet } from "./mobilenet.ts";
import { resnet } from "./resnet.ts";
import { vgg } from "./vgg.ts";
import { vit, vitPositions } from "./vit.ts";

/** A model that is built and drawn here: parameters are zeros until `initialise` draws them as said. */
export interface Blueprint {
  readonly graph: () => Graph;
  readonly scheme: InitialisationScheme;
  /** Parameters that no role names, with their deviation. */
  readonly normal?: ReadonlyMap<string, number>;
}

const picture: PictureShape = [1, 28, 28];
const classes = 10;
const widths = [16, 32, 64];

/** The architectures that are trained on pictures of 28 x 28 pixels in ten classes. */
export const glyphModels = {
  mlp: { graph: () => mlp({ picture, widths: [300, 100], classes }), scheme: "kaiming-normal" },
  lenet5: {
    graph: () => lenet5({ picture, channels: [6, 16], pad: 2, widths: [120, 84], classes }),
    scheme: "kaiming-normal",
  },
  vgg: {
    graph: () => vgg({ picture, plan: [16, 16, "pool", 32, 32, "pool", 64, 64], classes }),
    scheme: "kaiming-normal",
  },
  resnet8: {
    graph: () => resnet({ picture, widths, blocks: 1, shortcut: "conv", stem: 2, classes }),
    scheme: "kaiming-normal",
  },
  resnet8Narrow: {
    graph: () => resnet({ picture, widths: [8, 16, 32], blocks: 1, shortcut: "conv", stem: 2, classes }),
    scheme: "kaiming-normal",
  },
  resnet20: {
    graph: () => resnet({ picture, widths, blocks: 3, shortcut: "pad", stem: 2, classes }),
    scheme: "kaiming-normal",
  },
  mobilenet: {
    graph: () =>
      mobilenet({
        picture,
        stem: { channels: 16, stride: 2 },
        blocks: [
          [32, 1],
          [64, 2],
          [64, 1],
          [96, 2],
          [96, 1],
        ],
        classes,
      }),
    scheme: "kaiming-normal",
  },
  vit: {
    graph: () => vit({ picture, patch: 7, width: 64, layers: 4, heads: 4, hidden: 128, classes }),
    scheme: "xavier-uniform",
    normal: new Map([[vitPositions, 0.02]]),
  },
  lstm: { graph: () => lstm({ picture, hidden: 128, layers: 1, classes }), scheme: "pytorch" },
} as const satisfies Readonly<Record<string, Blueprint>>;

/** ResNet-20 as the CIFAR-10 papers have it, 269,722 parameters. */
export const cifarResnet20: Blueprint = {
  graph: () => resnet({ picture: [3, 32, 32], widths, blocks: 3, shortcut: "pad", classes }),
  scheme: "kaiming-normal",
};
