import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { batchNorm, conv, type PictureShape, picture, pooledHead, relu } from "./layers.ts";

export interface MobileNetConfig {
  readonly picture: PictureShape;
  readonly stem: { readonly channels: number; readonly stride: number };
  /** Each block: output channels and stride. */
  readonly blocks: readonly (readonly [channels: number, stride: number])[];
  readonly classes: number;
}

/** Depthwise convolutions of 3 x 3 and pointwise ones in turn, each with a batch norm (Howard et al. 2017). */
export function mobilenet({ picture: shape, stem, blocks, classes }: MobileNetConfig): Graph {
  const g = builder("mobilenet");
  let channels = stem.channels;
  const first = conv(g, "conv1", picture(g, shape), [shape[0], channels], { kernel: 3, stride: stem.stride });
  let x = relu(g, batchNorm(g, "bn1", first, channels));
  for (const [i, [width, stride]] of blocks.entries()) {
    const name = `blocks.${i}`;
    const depthwise = { kernel: 3, stride, groups: channels };
    const deep = conv(g, `${name}.depthwise`, x, [channels, channels], depthwise);
    const mixed = relu(g, batchNorm(g, `${name}.bn1`, deep, channels));
    const wide = conv(g, `${name}.pointwise`, mixed, [channels, width], { kernel: 1 });
    x = relu(g, batchNorm(g, `${name}.bn2`, wide, width));
    channels = width;
  }
  pooledHead(g, "fc", x, channels, classes);
  return g.finish();
}
