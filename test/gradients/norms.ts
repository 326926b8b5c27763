import { float, int, ints } from "../../src/graph/attributes.ts";
import type { GradientCase } from "./check.ts";

const f32 = "f32" as const;
const map = { shape: [2, 4, 3, 2] };
const channels = { shape: [4] };
const positive = { shape: [4], range: [0.5, 2] } as const;

/** Norms with their parameters, and the softmax family. */
export const normCases: readonly GradientCase[] = [
  { op: "BatchNormalization", inputs: [map, channels, channels, channels, positive] },
  {
    op: "BatchNormalization",
    form: "given statistics, two axes",
    inputs: [{ shape: [3, 2] }, { shape: [2] }, { shape: [2] }, { floats: [0.2, -0.4] }, { floats: [0.5, 2] }],
    attributes: { epsilon: float(0.1) },
  },
  { op: "InstanceNormalization", inputs: [map, channels, channels], attributes: { epsilon: float(0.01) }, dtype: f32 },
  {
    op: "InstanceNormalization",
    form: "one axis",
    inputs: [{ shape: [2, 2, 5] }, { shape: [2] }, { shape: [2] }],
    dtype: f32,
  },
  { op: "GroupNormalization", inputs: [map, channels, channels], attributes: { num_groups: int(2) }, dtype: f32 },
  { op: "LayerNormalization", inputs: [{ shape: [3, 4] }, channels, channels] },
  {
    op: "LayerNormalization",
    form: "no offset",
    inputs: [{ shape: [2, 2, 3] }, { shape: [3] }],
    attributes: { epsilon: float(0.1) },
  },
  {
    op: "LayerNormalization",
    form: "two axes, all outputs",
    inputs: [{ shape: [3, 2, 3] }, { shape: [2, 3] }, { shape: [2, 3] }],
    attributes: { axis: int(1) },
    outputs: 3,
    read: [0, 1, 2],
    dtype: f32,
  },
  { op: "LayerNormalization", form: "fused", inputs: [{ shape: [3, 4] }, channels, channels], dtype: f32 },
  {
    op: "LayerNormalization",
    form: "broadcast parameters",
    inputs: [{ shape: [3, 2, 3] }, { shape: [2, 1] }, { shape: [3] }],
    attributes: { axis: int(1) },
  },
  { op: "RMSNormalization", inputs: [{ shape: [2, 3, 4] }, channels], opset: 23 },
  {
    op: "RMSNormalization",
    form: "two axes",
    inputs: [{ shape: [3, 2, 3] }, { shape: [2, 3] }],
    attributes: { axis: int(1) },
    opset: 23,
  },
  {
    op: "SimplifiedLayerNormalization",
    inputs: [{ shape: [3, 4] }, channels],
    attributes: { axis: int(-1) },
    outputs: 2,
    read: [0, 1],
    dtype: f32,
  },
  {
    op: "com.microsoft::SkipLayerNormalization",
    inputs: [{ shape: [2, 3, 4] }, { shape: [2, 3, 4] }, channels, channels, channels],
    outputs: 4,
    read: [0, 3],
    dtype: f32,
    attributes: { epsilon: float(0.1) },
  },
  {
    op: "com.microsoft::SkipLayerNormalization",
    form: "no offset",
    inputs: [{ shape: [2, 3, 4] }, { shape: [2, 3, 4] }, channels],
    dtype: f32,
    attributes: { epsilon: float(0.1) },
  },
  {
    op: "com.microsoft::SkipSimplifiedLayerNormalization",
    inputs: [{ shape: [2, 3, 4] }, { shape: [2, 3, 4] }, channels, channels],
    outputs: 4,
    read: [0, 3],
    dtype: f32,
    attributes: { epsilon: float(0.1) },
  },
  { op: "LpNormalization", inputs: [{ shape: [3, 4] }], attributes: { axis: int(0) } },
  { op: "LpNormalization", form: "sum of magnitudes", inputs: [{ shape: [3, 4] }], attributes: { p: int(1) } },
  { op: "MeanVarianceNormalization", inputs: [map], dtype: f32 },
  {
    op: "MeanVarianceNormalization",
    form: "one axis",
    inputs: [{ shape: [3, 5] }],
    attributes: { axes: ints([-1]) },
    dtype: f32,
  },
  {
    op: "LRN",
    inputs: [{ shape: [2, 5, 3, 2] }],
    attributes: { size: int(3), alpha: float(0.5), beta: float(0.6), bias: float(1.5) },
    dtype: f32,
  },
  {
    op: "LRN",
    form: "wider than the channels",
    inputs: [{ shape: [1, 4, 3, 1] }],
    attributes: { size: int(5), alpha: float(0.5) },
    dtype: f32,
  },
  { op: "Softmax", inputs: [{ shape: [2, 4] }] },
  { op: "Softmax", form: "inner axis", inputs: [{ shape: [2, 3, 2] }], attributes: { axis: int(1) } },
  { op: "LogSoftmax", inputs: [{ shape: [2, 4] }] },
  { op: "LogSoftmax", form: "inner axis", inputs: [{ shape: [2, 3, 2] }], attributes: { axis: int(-2) } },
];
