import type { Attributes } from "../../src/graph/attributes.ts";
import { float, floats, int, ints, string } from "../../src/graph/attributes.ts";
import type { GradientCase } from "./check.ts";

const f32 = "f32" as const;
const pool = (op: string, form: string, shape: readonly number[], attributes: Attributes): GradientCase => ({
  op,
  form,
  inputs: [{ shape, distinct: true, range: [-3, 3] }],
  attributes,
  dtype: f32,
});

const k = (...kernel: number[]): Attributes => ({ kernel_shape: ints(kernel) });
const s = (...strides: number[]): Attributes => ({ strides: ints(strides) });
const p = (...pads: number[]): Attributes => ({ pads: ints(pads) });

const forms: readonly (readonly [form: string, shape: readonly number[], attributes: Attributes])[] = [
  ["tiles", [2, 3, 4, 6], { ...k(2, 3), ...s(2, 3) }],
  ["tiles with a rest", [1, 2, 5, 7], { ...k(2, 2), ...s(2, 2) }],
  ["overlapping, padded", [1, 2, 5, 6], { ...k(3, 3), ...s(2, 2), ...p(1, 1, 1, 1) }],
  ["single steps", [1, 2, 4, 5], { ...k(3, 2), ...p(1, 0, 1, 1) }],
  ["ceil", [1, 2, 6, 5], { ...k(3, 2), ...s(2, 2), ceil_mode: int(1) }],
  ["dilated", [1, 2, 7, 6], { ...k(2, 2), ...s(2, 1), dilations: ints([2, 3]) }],
  ["auto pad", [1, 2, 5, 6], { ...k(3, 2), ...s(2, 2), auto_pad: string("SAME_UPPER") }],
  ["one axis", [2, 2, 7], { ...k(3), ...s(2), ...p(1, 0) }],
  ["three axes", [1, 2, 4, 3, 4], { ...k(2, 2, 2), ...s(2, 1, 2) }],
];

const resize = (
  form: string,
  shape: readonly number[],
  after: { readonly scales: readonly number[] } | { readonly sizes: readonly number[] },
  attributes: Attributes,
  region?: readonly number[],
): GradientCase => ({
  op: "Resize",
  form,
  inputs: [
    { shape },
    region === undefined ? null : { floats: region },
    "scales" in after ? { floats: after.scales } : null,
    ...("sizes" in after ? [{ ints: after.sizes }] : []),
  ],
  attributes,
  dtype: f32,
});

const linear = { mode: string("linear") };
const cubic = { mode: string("cubic") };
const at = (mode: string) => ({ coordinate_transformation_mode: string(mode) });

/** Pooling and resampling. */
export const poolCases: readonly GradientCase[] = [
  ...forms.map(([form, shape, attributes]) => pool("MaxPool", form, shape, attributes)),
  ...forms.map(([form, shape, attributes]) => pool("AveragePool", form, shape, attributes)),
  pool("AveragePool", "padding counted", [1, 2, 5, 6], {
    ...k(3, 3),
    ...s(2, 2),
    ...p(1, 1, 1, 1),
    count_include_pad: int(1),
  }),
  pool("AveragePool", "padding counted, single steps", [1, 2, 5, 6], {
    ...k(3, 3),
    ...p(1, 1, 1, 1),
    count_include_pad: int(1),
  }),
  pool("AveragePool", "padding counted, ceil", [1, 2, 6, 5], {
    ...k(3, 2),
    ...s(2, 2),
    ...p(1, 0, 0, 1),
    count_include_pad: int(1),
    ceil_mode: int(1),
  }),
  pool("LpPool", "tiles", [1, 2, 4, 4], { ...k(2, 2), ...s(2, 2) }),
  pool("LpPool", "padded, third power", [1, 2, 5, 4], { ...k(3, 2), ...p(1, 0, 1, 1), ...s(2, 1), p: int(3) }),
  pool("LpPool", "magnitudes", [1, 2, 5, 4], { ...k(3, 2), p: int(1) }),
  pool("GlobalAveragePool", "plane", [2, 3, 4, 3], {}),
  pool("GlobalMaxPool", "plane", [2, 3, 4, 3], {}),
  pool("GlobalLpPool", "plane", [2, 3, 4, 3], {}),
  pool("GlobalLpPool", "third power", [2, 3, 4], { p: int(3) }),
  resize(
    "nearest, doubled",
    [1, 2, 3, 4],
    { scales: [1, 1, 2, 2] },
    { ...at("asymmetric"), nearest_mode: string("floor") },
  ),
  resize("nearest, half pixel", [1, 2, 3, 4], { scales: [1, 1, 3, 2] }, {}),
  resize("nearest, odd sizes", [1, 2, 3, 4], { sizes: [1, 2, 5, 3] }, { nearest_mode: string("ceil") }),
  resize("linear", [1, 2, 3, 4], { scales: [1, 1, 2, 1.5] }, linear),
  resize("linear, smaller", [1, 2, 6, 5], { sizes: [1, 2, 3, 4] }, { ...linear, ...at("pytorch_half_pixel") }),
  resize("linear, aligned corners", [1, 2, 3, 4], { sizes: [1, 2, 5, 7] }, { ...linear, ...at("align_corners") }),
  resize("linear, anti-aliased", [1, 2, 6, 5], { sizes: [1, 2, 3, 4] }, { ...linear, antialias: int(1) }),
  resize(
    "linear, a region",
    [1, 1, 5, 6],
    { sizes: [1, 1, 4, 4] },
    { ...linear, ...at("tf_crop_and_resize"), extrapolation_value: float(2) },
    [0, 0, 0.1, 0.2, 1, 1, 1.2, 0.9],
  ),
  resize("linear, one axis", [2, 2, 5], { sizes: [2, 2, 8] }, linear),
  resize("linear, three axes", [1, 1, 3, 2, 3], { sizes: [1, 1, 4, 3, 5] }, linear),
  resize("cubic", [1, 2, 4, 5], { scales: [1, 1, 1.5, 2] }, cubic),
  resize(
    "cubic, no outside",
    [1, 1, 4, 5],
    { sizes: [1, 1, 7, 3] },
    { ...cubic, exclude_outside: int(1), cubic_coeff_a: float(-0.5) },
  ),
  { ...resize("axes named", [1, 2, 3, 4], { sizes: [5, 6] }, { ...linear, axes: ints([2, 3]) }) },
  { op: "Upsample", inputs: [{ shape: [1, 2, 3, 2] }, { floats: [1, 1, 2, 3] }], opset: 9, dtype: f32 },
  {
    op: "Upsample",
    form: "linear",
    inputs: [{ shape: [1, 2, 3, 2] }],
    attributes: { ...linear, scales: floats([1, 1, 2, 3]) },
    opset: 7,
    dtype: f32,
  },
];
