import { float, floats, int, ints, string } from "../../src/graph/attributes.ts";
import type { GradientCase } from "./check.ts";

const f32 = "f32" as const;
/** Places that stay between two positions under the steps of a difference. */
const grid = (...values: number[]) => ({ shape: [1, 2, 3, 2], values });
const inside = grid(-0.7, 0.31, 0.13, -0.55, 0.52, 0.9, -0.2, -0.81, 0.77, 0.12, -0.33, 0.44);
const outside = grid(-1.4, 0.31, 0.13, -1.55, 1.52, 0.9, -0.2, -0.81, 2.77, 0.12, -0.33, -3.44);
const image = { shape: [1, 2, 4, 5] };

/** Sampling by a grid, and what ONNX Runtime fuses. */
export const sampledCases: readonly GradientCase[] = [
  { op: "GridSample", inputs: [image, inside], dtype: f32 },
  { op: "GridSample", form: "outside", inputs: [image, outside], attributes: { align_corners: int(1) }, dtype: f32 },
  {
    op: "GridSample",
    form: "border",
    inputs: [image, outside],
    attributes: { padding_mode: string("border") },
    dtype: f32,
  },
  {
    op: "GridSample",
    form: "reflection",
    inputs: [image, outside],
    attributes: { padding_mode: string("reflection") },
    dtype: f32,
  },
  {
    op: "GridSample",
    form: "reflection, aligned corners",
    inputs: [image, outside],
    attributes: { padding_mode: string("reflection"), align_corners: int(1) },
    dtype: f32,
  },
  {
    op: "GridSample",
    form: "nearest",
    inputs: [image, { floats: inside.values, shape: inside.shape }],
    attributes: { mode: string("nearest") },
    dtype: f32,
  },
  {
    op: "com.microsoft::FusedConv",
    inputs: [{ shape: [1, 2, 4, 4] }, { shape: [3, 2, 3, 3] }, { shape: [3] }],
    attributes: { activation: string("LeakyRelu"), activation_params: floats([0.2]), pads: ints([1, 1, 1, 1]) },
    dtype: f32,
  },
  {
    op: "com.microsoft::FusedConv",
    form: "with an addend",
    inputs: [{ shape: [1, 2, 4, 4] }, { shape: [3, 2, 3, 3] }, { shape: [3] }, { shape: [1, 3, 2, 2] }],
    attributes: { activation: string("Tanh") },
    dtype: f32,
  },
  {
    op: "com.microsoft::FusedGemm",
    inputs: [{ shape: [2, 3] }, { shape: [4, 3] }, { shape: [4] }],
    attributes: { activation: string("LeakyRelu"), activation_alpha: float(0.3), transB: int(1), alpha: float(0.5) },
    dtype: f32,
  },
];
