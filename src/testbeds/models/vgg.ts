import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { batchNorm, conv, maxPool, type PictureShape, picture, pooledHead, relu } from "./layers.ts";

export interface VggConfig {
  readonly picture: PictureShape;
  /** Output channels of each convolution, and where the picture is halved. */
  readonly plan: readonly (number | "pool")[];
  readonly classes: number;
}

/** Convolutions of 3 x 3 with batch norms, poolings between, one linear layer behind a mean (the form used on CIFAR-10). */
export function vgg({ picture: shape, plan, classes }: VggConfig): Graph {
  const g = builder("vgg");
  let x = picture(g, shape);
  let channels = shape[0];
  let layer = 0;
  for (const step of plan) {
    if (step === "pool") {
      x = maxPool(g, x);
      continue;
    }
    layer++;
    const y = conv(g, `conv${layer}`, x, [channels, step], { kernel: 3 });
    x = relu(g, batchNorm(g, `bn${layer}`, y, step));
    channels = step;
  }
  pooledHead(g, "fc", x, channels, classes);
  return g.finish();
}
