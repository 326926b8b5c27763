import { float, int, string } from "../../src/graph/attributes.ts";
import type { GradientCase } from "./check.ts";

const x = { shape: [2, 3] };
const positive = { shape: [2, 3], range: [0.2, 2] } as const;
const inside = { shape: [2, 3], range: [-0.8, 0.8] } as const;
const f32 = "f32" as const;

/** Functions of one operand. */
const unary: readonly GradientCase[] = [
  { op: "Abs", inputs: [x] },
  { op: "Acos", inputs: [inside], dtype: f32 },
  { op: "Acosh", inputs: [{ shape: [2, 3], range: [1.2, 3] }], dtype: f32 },
  { op: "Asin", inputs: [inside], dtype: f32 },
  { op: "Asinh", inputs: [x], dtype: f32 },
  { op: "Atan", inputs: [x], dtype: f32 },
  { op: "Atanh", inputs: [inside], dtype: f32 },
  { op: "Celu", inputs: [x], attributes: { alpha: float(0.7) }, dtype: f32 },
  { op: "Cos", inputs: [x], dtype: f32 },
  { op: "Cosh", inputs: [x], dtype: f32 },
  { op: "Elu", inputs: [x], attributes: { alpha: float(1.3) }, dtype: f32 },
  { op: "Erf", inputs: [x], dtype: f32 },
  { op: "Exp", inputs: [x] },
  { op: "Gelu", inputs: [x], dtype: f32 },
  { op: "Gelu", form: "tanh", inputs: [x], attributes: { approximate: string("tanh") }, dtype: f32 },
  { op: "HardSigmoid", inputs: [{ shape: [2, 5], range: [-4, 4] }], dtype: f32 },
  { op: "HardSwish", inputs: [{ shape: [2, 5], range: [-2.5, 5] }], dtype: f32 },
  { op: "LeakyRelu", inputs: [x], attributes: { alpha: float(0.2) }, dtype: f32 },
  { op: "Log", inputs: [positive] },
  { op: "Mish", inputs: [x], dtype: f32 },
  { op: "Neg", inputs: [x] },
  { op: "Reciprocal", inputs: [x] },
  { op: "Relu", inputs: [x] },
  { op: "Selu", inputs: [x], dtype: f32 },
  { op: "Shrink", inputs: [x], attributes: { lambd: float(0.9), bias: float(0.2) }, dtype: f32 },
  { op: "Sigmoid", inputs: [x] },
  { op: "Sin", inputs: [x] },
  { op: "Sinh", inputs: [x], dtype: f32 },
  { op: "Softplus", inputs: [x], dtype: f32 },
  { op: "Softsign", inputs: [x], dtype: f32 },
  { op: "Sqrt", inputs: [positive] },
  { op: "Tan", inputs: [inside], dtype: f32 },
  { op: "Tanh", inputs: [x] },
  { op: "ThresholdedRelu", inputs: [x], attributes: { alpha: float(0.1) }, dtype: f32 },
];

/** Functions of several, with broadcasting. */
const arithmetic: readonly GradientCase[] = [
  { op: "Add", form: "broadcast", inputs: [{ shape: [2, 3, 1] }, { shape: [3, 4] }] },
  { op: "Clip", inputs: [x, { floats: [-1], shape: [] }, { floats: [1], shape: [] }] },
  { op: "Div", form: "broadcast", inputs: [{ shape: [3] }, { shape: [2, 1] }] },
  { op: "Identity", inputs: [x] },
  {
    op: "Max",
    form: "three",
    inputs: [
      { shape: [2, 3], distinct: true },
      { shape: [3], distinct: true },
      { floats: [0.41], shape: [] },
    ],
  },
  { op: "Mean", inputs: [x, { shape: [3] }], dtype: f32 },
  {
    op: "Min",
    inputs: [
      { shape: [2, 3], distinct: true },
      { shape: [2, 1], distinct: true },
    ],
  },
  { op: "Mul", form: "scalar", inputs: [x, { shape: [] }] },
  { op: "Pow", form: "square", inputs: [x, { floats: [2], shape: [] }] },
  { op: "Pow", form: "cube", inputs: [x, { ints: [3], shape: [] }] },
  { op: "Pow", form: "both", inputs: [positive, { shape: [3] }] },
  { op: "PRelu", inputs: [x, { shape: [3] }], dtype: f32 },
  { op: "Sub", form: "broadcast", inputs: [{ shape: [1, 3] }, { shape: [2, 1] }] },
  { op: "Sum", form: "three", inputs: [x, { shape: [1] }, { shape: [3] }] },
  { op: "Where", inputs: [{ ints: [1, 0, 1], dtype: "bool" }, x, { shape: [2, 1] }] },
];

/** Conversions, and what ONNX Runtime adds. */
const others: readonly GradientCase[] = [
  { op: "Cast", inputs: [x], attributes: { to: int(11) }, dtype: f32 },
  { op: "CastLike", inputs: [x, { floats: [1] }], dtype: f32 },
  { op: "Dropout", inputs: [x] },
  { op: "Dropout", form: "with a ratio that is not used", inputs: [x, { floats: [0.5], shape: [] }], dtype: f32 },
  { op: "Mod", inputs: [positive, { floats: [0.7], shape: [] }], attributes: { fmod: int(1) } },
  { op: "Swish", inputs: [x], attributes: { alpha: float(1.3) }, opset: 24, dtype: f32 },
  { op: "com.microsoft::BiasGelu", inputs: [x, { shape: [3] }], dtype: f32 },
  { op: "com.microsoft::FastGelu", inputs: [x, { shape: [3] }], dtype: f32 },
  { op: "com.microsoft::FastGelu", form: "no bias", inputs: [x], dtype: f32 },
  { op: "com.microsoft::Gelu", inputs: [x], dtype: f32 },
  { op: "com.microsoft::QuickGelu", inputs: [x], attributes: { alpha: float(1.5) }, dtype: f32 },
];

export const elementwiseCases: readonly GradientCase[] = [...unary, ...arithmetic, ...others];
