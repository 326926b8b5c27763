import { int, ints, string } from "../../src/graph/attributes.ts";
import type { GradientCase } from "./check.ts";

const f32 = "f32" as const;

/** A convolution of x with w and a bias. */
function conv(
  form: string,
  x: readonly number[],
  w: readonly number[],
  attributes: GradientCase["attributes"] = {},
): GradientCase {
  return { op: "Conv", form, inputs: [{ shape: x }, { shape: w }, { shape: w.slice(0, 1) }], attributes, dtype: f32 };
}

function transposed(
  form: string,
  x: readonly number[],
  w: readonly number[],
  attributes: GradientCase["attributes"] = {},
): GradientCase {
  const group = attributes["group"]?.kind === "int" ? attributes["group"].value : 1;
  const bias = { shape: [(w[1] ?? 1) * group] };
  return { op: "ConvTranspose", form, inputs: [{ shape: x }, { shape: w }, bias], attributes, dtype: f32 };
}

const same = { pads: ints([1, 1, 1, 1]) };
const two = { strides: ints([2, 2]) };

/** Convolutions in one, two and three dimensions. */
export const convolutionCases: readonly GradientCase[] = [
  conv("padded", [2, 3, 5, 4], [4, 3, 3, 3], same),
  conv("many channels", [2, 8, 5, 4], [4, 8, 3, 3], same),
  conv("small image, many channels", [3, 8, 3, 3], [16, 8, 3, 3], same),
  conv("many outputs", [2, 2, 4, 4], [7, 2, 2, 2]),
  conv("pointwise", [2, 3, 3, 4], [4, 3, 1, 1]),
  conv("pointwise, strided", [2, 3, 5, 4], [4, 3, 1, 1], two),
  conv("strided, a rest unseen", [2, 3, 6, 5], [4, 3, 3, 3], { ...two, pads: ints([1, 0, 0, 1]) }),
  conv("strided beyond the kernel", [1, 2, 8, 9], [3, 2, 2, 2], { strides: ints([3, 4]) }),
  conv("dilated", [1, 2, 7, 6], [3, 2, 3, 2], { dilations: ints([2, 3]), pads: ints([1, 0, 2, 1]) }),
  conv("dilated and strided", [1, 8, 8, 7], [3, 8, 3, 2], { ...two, dilations: ints([2, 3]) }),
  conv("groups", [2, 4, 5, 4], [6, 2, 3, 3], { ...same, group: int(2) }),
  conv("groups, strided", [2, 4, 5, 4], [6, 2, 3, 3], { ...same, ...two, group: int(2) }),
  conv("depthwise", [2, 3, 5, 4], [3, 1, 3, 3], { ...same, group: int(3) }),
  conv("depthwise, two for each", [2, 3, 5, 4], [6, 1, 3, 3], { ...same, group: int(3) }),
  conv("depthwise, small image", [9, 6, 1, 2], [18, 1, 3, 3], { ...same, group: int(6) }),
  conv("large kernel, few channels", [2, 2, 9, 8], [3, 2, 6, 6], { ...two, pads: ints([2, 2, 2, 2]) }),
  conv("patches", [1, 2, 12, 13], [3, 2, 6, 6], { strides: ints([6, 6]) }),
  conv("auto pad, upper", [1, 2, 6, 5], [3, 2, 3, 2], { auto_pad: string("SAME_UPPER"), ...two }),
  conv("auto pad, lower", [1, 2, 6, 5], [3, 2, 3, 2], { auto_pad: string("SAME_LOWER"), ...two }),
  conv("no pad", [1, 2, 6, 5], [3, 2, 3, 2], { auto_pad: string("VALID") }),
  conv("padding beyond the kernel", [1, 2, 3, 3], [2, 2, 2, 2], { pads: ints([3, 2, 2, 3]) }),
  conv("one axis", [2, 3, 7], [4, 3, 3], { pads: ints([1, 2]), strides: ints([2]) }),
  conv("three axes", [1, 2, 4, 3, 4], [3, 2, 2, 3, 2], { pads: ints([0, 1, 1, 1, 1, 0]) }),
  conv("three axes, strided", [1, 8, 4, 3, 5], [3, 8, 2, 3, 2], {
    strides: ints([2, 1, 2]),
    pads: ints([0, 1, 1, 1, 1, 0]),
  }),
  { op: "Conv", form: "no bias", inputs: [{ shape: [1, 2, 4, 4] }, { shape: [2, 2, 3, 3] }], dtype: f32 },
  transposed("plain", [2, 3, 4, 3], [3, 2, 3, 2]),
  transposed("strided", [2, 3, 4, 3], [3, 2, 3, 2], { ...two, pads: ints([1, 0, 0, 1]) }),
  transposed("output padding", [2, 3, 4, 3], [3, 2, 3, 3], { ...two, ...same, output_padding: ints([1, 1]) }),
  transposed("groups, dilated", [1, 4, 4, 3], [4, 2, 2, 3], { group: int(2), dilations: ints([2, 1]), ...two }),
  transposed("depthwise", [1, 3, 4, 3], [3, 1, 3, 3], { group: int(3), ...same }),
  transposed("output shape", [1, 2, 3, 3], [2, 3, 3, 3], { ...two, output_shape: ints([6, 5]) }),
  transposed("auto pad, upper", [1, 2, 3, 4], [2, 3, 3, 3], { ...two, auto_pad: string("SAME_UPPER") }),
  transposed("auto pad, lower", [1, 2, 3, 4], [2, 3, 3, 3], { ...two, auto_pad: string("SAME_LOWER") }),
  transposed("one axis", [2, 3, 5], [3, 2, 4], { strides: ints([3]), pads: ints([1, 0]) }),
  transposed("many channels", [1, 3, 4, 3], [3, 9, 3, 2], two),
];
