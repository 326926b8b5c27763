import { builder } from "../../graph/builder.ts";
import type { Draft } from "../../graph/draft.ts";
import type { Graph } from "../../graph/graph.ts";
import { batchNorm, conv, type PictureShape, picture, pooledHead, relu } from "./layers.ts";

export interface ResNetConfig {
  readonly picture: PictureShape;
  /** Channels of each stage; every stage but the first halves the picture. */
  readonly widths: readonly number[];
  /** Blocks of two convolutions in each stage: with three stages 1 makes ResNet-8, 3 ResNet-20, 9 ResNet-56. */
  readonly blocks: number;
  /** Where the width changes: pick every second pixel and pad with channels of zeros (option A), or a 1 x 1 convolution. */
  readonly shortcut: "pad" | "conv";
  /** Stride of the first convolution. */
  readonly stem?: number;
  readonly classes: number;
}

/** The residual networks for small pictures of He et al. 2015, section 4.2. */
export function resnet(config: ResNetConfig): Graph {
  const { picture: shape, widths, blocks, classes, stem = 1 } = config;
  const g = builder("resnet");
  let channels = widths[0] ?? 16;
  const first = conv(g, "conv1", picture(g, shape), [shape[0], channels], { kernel: 3, stride: stem });
  let x = relu(g, batchNorm(g, "bn1", first, channels));
  for (const [stage, width] of widths.entries()) {
    for (let i = 0; i < blocks; i++) {
      const stride = stage > 0 && i === 0 ? 2 : 1;
      x = block(g, `layer${stage + 1}.${i}`, x, [channels, width], stride, config.shortcut);
      channels = width;
    }
  }
  pooledHead(g, "fc", x, channels, classes);
  return g.finish();
}

function block(
  g: Draft,
  name: string,
  x: string,
  [inputs, width]: readonly [number, number],
  stride: number,
  kind: ResNetConfig["shortcut"],
): string {
  const inner = conv(g, `${name}.conv1`, x, [inputs, width], { kernel: 3, stride });
  const rectified = relu(g, batchNorm(g, `${name}.bn1`, inner, width));
  const outer = conv(g, `${name}.conv2`, rectified, [width, width], { kernel: 3 });
  const sum = [batchNorm(g, `${name}.bn2`, outer, width), shortcut(g, name, x, [inputs, width], stride, kind)];
  return relu(g, g.op("Add", sum));
}

function shortcut(
  g: Draft,
  name: string,
  x: string,
  [inputs, width]: readonly [number, number],
  stride: number,
  kind: ResNetConfig["shortcut"],
): string {
  if (inputs === width && stride === 1) return x;
  if (kind === "conv") {
    const y = conv(g, `${name}.shortcut.0`, x, [inputs, width], { kernel: 1, stride });
    return batchNorm(g, `${name}.shortcut.1`, y, width);
  }
  const bounds = [
    [0, 0],
    [2 ** 31 - 1, 2 ** 31 - 1],
    [2, 3],
    [stride, stride],
  ].map((list) => g.int64(list));
  const before = Math.floor((width - inputs) / 2);
  const pads = g.int64([0, before, 0, 0, 0, width - inputs - before, 0, 0]);
  return g.op("Pad", [g.op("Slice", [x, ...bounds]), pads]);
}
