import { float, int, ints } from "../../graph/attributes.ts";
import type { Draft } from "../../graph/draft.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { type Shape, sizeOf } from "../../tensor/tensor.ts";

/** Sizes of one picture: [channels, height, width]. */
export type PictureShape = readonly [channels: number, height: number, width: number];

/** A parameter of zeros, or of one value, under exactly this name; `initialise` draws it. */
export function parameter(g: Draft, name: string, shape: Shape, value = 0): string {
  return g.constant(float32Tensor(shape, new Float32Array(sizeOf(shape)).fill(value)), name);
}

export interface ConvOptions {
  readonly kernel: number;
  readonly stride?: number;
  /** Zeros around the picture; half of the kernel unless told, which keeps its size at stride 1. */
  readonly pad?: number;
  readonly groups?: number;
  readonly bias?: boolean;
}

/** x: [batch, inputs, h, w] → [batch, outputs, h', w']. */
export function conv(
  g: Draft,
  name: string,
  x: string,
  [inputs, outputs]: readonly [inputs: number, outputs: number],
  { kernel, stride = 1, pad = Math.floor(kernel / 2), groups = 1, bias = false }: ConvOptions,
): string {
  const weight = parameter(g, `${name}.weight`, [outputs, inputs / groups, kernel, kernel]);
  const offset = bias ? [parameter(g, `${name}.bias`, [outputs])] : [];
  return g.op("Conv", [x, weight, ...offset], {
    kernel_shape: ints([kernel, kernel]),
    strides: ints([stride, stride]),
    pads: ints([pad, pad, pad, pad]),
    group: int(groups),
  });
}

/** Batch normalisation in its inference form, with running statistics. */
export function batchNorm(g: Draft, name: string, x: string, channels: number): string {
  const vectors = [
    parameter(g, `${name}.weight`, [channels], 1),
    parameter(g, `${name}.bias`, [channels]),
    parameter(g, `${name}.running_mean`, [channels]),
    parameter(g, `${name}.running_var`, [channels], 1),
  ];
  return g.op("BatchNormalization", [x, ...vectors], { epsilon: float(1e-5) });
}

/** Normalises the last axis. */
export function layerNorm(g: Draft, name: string, x: string, width: number): string {
  const vectors = [parameter(g, `${name}.weight`, [width], 1), parameter(g, `${name}.bias`, [width])];
  return g.op("LayerNormalization", [x, ...vectors], { axis: int(-1), epsilon: float(1e-5) });
}

/** x: [batch, inputs] → [batch, outputs]; the weight is [outputs, inputs]. */
export function linear(g: Draft, name: string, x: string, inputs: number, outputs: number, result?: string): string {
  const parameters = [parameter(g, `${name}.weight`, [outputs, inputs]), parameter(g, `${name}.bias`, [outputs])];
  return g.op("Gemm", [x, ...parameters], { transB: int(1) }, result);
}

/** The same over the last axis of any number of axes; the weight is [inputs, outputs]. */
export function project(g: Draft, name: string, x: string, inputs: number, outputs: number): string {
  const product = g.op("MatMul", [x, parameter(g, `${name}.weight`, [inputs, outputs])]);
  return g.op("Add", [product, parameter(g, `${name}.bias`, [outputs])]);
}

export function relu(g: Draft, x: string): string {
  return g.op("Relu", [x]);
}

/** Halves height and width. */
export function maxPool(g: Draft, x: string): string {
  return g.op("MaxPool", [x], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
}

/** Means over positions, then the last linear layer, whose result is the graph's output: x [batch, channels, h, w]. */
export function pooledHead(g: Draft, name: string, x: string, channels: number, classes: number): void {
  const pooled = g.op("Flatten", [g.op("GlobalAveragePool", [x])]);
  head(g, name, pooled, channels, classes);
}

/** The last linear layer: "logits" [batch, classes]. */
export function head(g: Draft, name: string, x: string, inputs: number, classes: number): void {
  g.output(linear(g, name, x, inputs, classes, "logits"), "f32", ["batch", classes]);
}

/** The picture that every model takes, of any batch size. */
export function picture(g: Draft, shape: PictureShape): string {
  return g.input("image", "f32", ["batch", ...shape]);
}
