import { activations, biasGelu, fastGelu, gelu, quickGelu } from "./activations.ts";
import {
  attention,
  contribRotaryEmbedding,
  fusedAttention,
  groupQueryAttention,
  multiHeadAttention,
  rotaryEmbedding,
} from "./attention.ts";
import { batchStatisticsNorm } from "./batch-norm.ts";
import { conv, convTranspose, fusedConv, pool, resample } from "./conv.ts";
import { arithmetic, carrier, dropout, sizeReader } from "./elementwise.ts";
import { lpNormGradient, meanVarianceGradient } from "./gradients/norm-gradient.ts";
import {
  averagePoolGradient,
  globalAverageGradient,
  globalLpGradient,
  globalMaxGradient,
  lpPoolGradient,
  maxPoolGradient,
} from "./gradients/pool-gradient.ts";
import { lowerGridSample } from "./lowerings/grid-sample.ts";
import { einsum, fusedGemm, fusedMatMul, gemm, matMul } from "./mat-mul.ts";
import {
  axisNorm,
  batchNorm,
  groupNorm,
  instanceNorm,
  layerNorm,
  localResponseNorm,
  rmsNorm,
  skipLayerNorm,
} from "./norm.ts";
import { oneHotGradient, opaque } from "./opaque.ts";
import { dequantise, quantise } from "./quantise.ts";
import { gru, lstm, rnn } from "./recurrent.ts";
import { alongAxis, cumulativeGradient, globalPool, reductions, topGradient } from "./reduce.ts";
import {
  constantOfShape,
  depthToSpace,
  expand,
  refold,
  reshape,
  reverseSequence,
  spaceToDepth,
  tile,
  transpose,
  trilu,
} from "./reshape.ts";
import { concat, gather, gatherElements, gatherNd, pad, scatterElements, scatterNd, slice, split } from "./segments.ts";
import { logSoftmaxGrad, softmax, softmaxGrad } from "./softmax.ts";
import type { OpSpec } from "./spec.ts";

/** Operators of ai.onnx. */
const standard = {
  ...activations,
  ...arithmetic,
  ...reductions,
  ArgMax: alongAxis("the result is a position on it", "flat"),
  ArgMin: alongAxis("the result is a position on it", "flat"),
  Attention: attention,
  AveragePool: pool(averagePoolGradient),
  BatchNormalization: batchNorm,
  Cast: carrier,
  CastLike: carrier,
  Concat: concat,
  ConstantOfShape: constantOfShape,
  Conv: conv,
  ConvTranspose: convTranspose,
  Compress: opaque("positions are chosen by value"),
  CumSum: alongAxis("a running sum goes along it", cumulativeGradient),
  DepthToSpace: depthToSpace,
  DequantizeLinear: dequantise,
  Det: opaque("a determinant of its last two axes"),
  Dropout: dropout,
  Einsum: einsum,
  Expand: expand,
  EyeLike: opaque("a matrix of ones on a diagonal", "flat"),
  Flatten: refold,
  GRU: gru,
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherNd,
  Gemm: gemm,
  GlobalAveragePool: globalPool(globalAverageGradient),
  GlobalLpPool: globalPool(globalLpGradient),
  GlobalMaxPool: globalPool(globalMaxGradient),
  GridSample: opaque("positions are looked up by a grid", { lower: lowerGridSample }),
  GroupNormalization: groupNorm,
  Hardmax: softmax("flat"),
  Identity: carrier,
  InstanceNormalization: instanceNorm,
  LRN: localResponseNorm,
  LSTM: lstm,
  LayerNormalization: layerNorm,
  LogSoftmax: softmax(logSoftmaxGrad),
  LpNormalization: axisNorm(lpNormGradient),
  LpPool: pool(lpPoolGradient),
  MatMul: matMul,
  MaxPool: pool(maxPoolGradient),
  MeanVarianceNormalization: axisNorm(meanVarianceGradient),
  NonMaxSuppression: opaque("boxes are chosen by value"),
  NonZero: opaque("positions are chosen by value"),
  OneHot: opaque("an axis is made of classes", oneHotGradient),
  Pad: pad,
  QuantizeLinear: quantise,
  RMSNormalization: rmsNorm,
  RNN: rnn,
  Range: opaque("a list of numbers with equal steps"),
  Reshape: reshape,
  Resize: resample,
  ReverseSequence: reverseSequence,
  RoiAlign: opaque("regions are chosen by value"),
  RotaryEmbedding: rotaryEmbedding,
  ScatterElements: scatterElements,
  ScatterND: scatterNd,
  Shape: sizeReader,
  SimplifiedLayerNormalization: rmsNorm,
  Size: sizeReader,
  Slice: slice,
  Softmax: softmax(softmaxGrad),
  SpaceToDepth: spaceToDepth,
  Split: split,
  Squeeze: refold,
  Tile: tile,
  TopK: alongAxis("positions on it are ordered", topGradient),
  Transpose: transpose,
  Trilu: trilu,
  Unsqueeze: refold,
  Upsample: resample,
} satisfies Record<string, OpSpec>;

/** Operators that ONNX Runtime adds under com.microsoft. */
const microsoft = {
  Attention: fusedAttention,
  BiasGelu: biasGelu,
  BiasSplitGelu: opaque("a fused activation that halves its axis"),
  DequantizeLinear: dequantise,
  FastGelu: fastGelu,
  FusedConv: fusedConv,
  FusedGemm: fusedGemm,
  FusedMatMul: fusedMatMul,
  Gelu: gelu,
  GroupQueryAttention: groupQueryAttention,
  MultiHeadAttention: multiHeadAttention,
  QuantizeLinear: quantise,
  QuickGelu: quickGelu,
  RotaryEmbedding: contribRotaryEmbedding,
  SkipLayerNormalization: skipLayerNorm(4),
  SkipSimplifiedLayerNormalization: skipLayerNorm(3),
} satisfies Record<string, OpSpec>;

/** Operators of our own: no file has them, and none is left when a graph runs. */
const ownDomain = "espalier";
const own = { BatchNorm: batchStatisticsNorm } satisfies Record<string, OpSpec>;

/** Forms that the runtime's processor has for itself: only steps that were put together to run hold them. */
const blockedDomain = "com.microsoft.nchwc";
const blocked = {
  Conv: { ...opaque("channels are in blocks"), macs: conv.macs },
} satisfies Record<string, OpSpec>;

const byDomain: ReadonlyMap<string, ReadonlyMap<string, OpSpec>> = new Map([
  ["", new Map<string, OpSpec>(Object.entries(standard))],
  ["com.microsoft", new Map<string, OpSpec>(Object.entries(microsoft))],
  [ownDomain, new Map<string, OpSpec>(Object.entries(own))],
  [blockedDomain, new Map<string, OpSpec>(Object.entries(blocked))],
]);

/** What espalier knows of an operator; undefined for the others, whose axes are then left whole. */
export function opSpec(domain: string, op: string): OpSpec | undefined {
  return byDomain.get(domain === "ai.onnx" ? "" : domain)?.get(op);
}

/** Every operator that files have, with its domain, in the order of the tables. */
export function operators(): readonly { readonly domain: string; readonly op: string; readonly spec: OpSpec }[] {
  const inFiles = [...byDomain].filter(([domain]) => domain !== ownDomain && domain !== blockedDomain);
  return inFiles.flatMap(([domain, specs]) => [...specs].map(([op, spec]) => ({ domain, op, spec })));
}

/** True for operators that look at the sizes of their operand and never at its elements. */
export function readsSizesOnly({ domain, op }: { readonly domain: string; readonly op: string }): boolean {
  return opSpec(domain, op) === sizeReader;
}
