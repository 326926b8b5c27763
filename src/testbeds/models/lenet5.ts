import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { conv, head, linear, maxPool, type PictureShape, picture, relu } from "./layers.ts";

export interface LeNetConfig {
  readonly picture: PictureShape;
  readonly channels: readonly [number, number];
  /** Zeros around the picture of the first convolution. */
  readonly pad: number;
  readonly widths: readonly number[];
  readonly classes: number;
}

/**
 * Two convolutions of 5 x 5, each before a pooling, then linear layers. Channels 6 and 16, pad 2, widths 120 and 84 as
 * in LeNet-5 (LeCun et al. 1998); channels 20 and 50, no pad, width 500 as in Caffe's, which most papers on pruning mean.
 */
export function lenet5({ picture: shape, channels, pad, widths, classes }: LeNetConfig): Graph {
  const g = builder("lenet5");
  const [first, second] = channels;
  const after = (size: number): number => Math.floor((Math.floor((size + 2 * pad - 4) / 2) - 4) / 2);
  let x = relu(g, conv(g, "conv1", picture(g, shape), [shape[0], first], { kernel: 5, pad, bias: true }));
  x = relu(g, conv(g, "conv2", maxPool(g, x), [first, second], { kernel: 5, pad: 0, bias: true }));
  x = g.op("Flatten", [maxPool(g, x)]);
  let inputs = second * after(shape[1]) * after(shape[2]);
  for (const [i, width] of widths.entries()) {
    x = relu(g, linear(g, `fc${i + 1}`, x, inputs, width));
    inputs = width;
  }
  head(g, `fc${widths.length + 1}`, x, inputs, classes);
  return g.finish();
}
