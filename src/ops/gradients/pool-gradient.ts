import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { int, intAttr, ints, intsAttr, string } from "../../graph/attributes.ts";
import { fromFloats } from "../../tensor/numeric.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import type { FormulaContext, GradContext, GradRule } from "../spec.ts";
import { dataGradient } from "./conv-gradient.ts";
import { seen, type Window, windowOf } from "./window.ts";

function poolWindow(c: FormulaContext): Window {
  return windowOf(c.node, intsAttr(c.node, "kernel_shape", []), c.x(0).shape, c.y(0).shape);
}

/** True where windows lie side by side: no two of them see the same position, and none sees padding. */
function isTiling({ kernel, strides, dilations, before, inputs, outputs }: Window): boolean {
  return kernel.every(
    (n, i) => n === strides[i] && dilations[i] === 1 && before[i] === 0 && (outputs[i] ?? 0) * n <= (inputs[i] ?? 0),
  );
}

/** Every element repeated over its window of a tiling. x: [n, c, ...outputs] → [n, c, ...outputs · kernel]. */
function repeated(g: Algebra, x: Value, { kernel }: Window): Value {
  if (kernel.every((n) => n === 1)) return x;
  const shape = x.shape.map((n, i) => n * (i < 2 ? 1 : (kernel[i - 2] ?? 1)));
  const scales = fromFloats("f32", [shape.length], Float64Array.of(1, 1, ...kernel));
  const attributes = {
    mode: string("nearest"),
    coordinate_transformation_mode: string("asymmetric"),
    nearest_mode: string("floor"),
  };
  return g.op("Resize", [x, null, g.constant(scales, "scales")], attributes, { dtype: x.dtype, shape });
}

/** Zeros behind what a tiling leaves over. */
function withRest(g: Algebra, x: Value, { inputs }: Window): Value {
  const rest = inputs.map((n, i) => n - (x.shape[i + 2] ?? 0));
  return g.pad(x, [0, 0, ...rest.map(() => 0)], [0, 0, ...rest]);
}

/** Each position gets the sum of what the windows that see it carry: the transpose of a sum over windows. */
function sumOfWindows(g: Algebra, d: Value, window: Window): Value {
  const { kernel, strides, dilations, before, inputs } = window;
  if (isTiling(window)) return withRest(g, repeated(g, d, window), window);
  const far = kernel.map((n, i) => (n - 1) * (dilations[i] ?? 1));
  const [front, back] = [far.map((n, i) => n - (before[i] ?? 0)), far.map((n, i) => n - (window.after[i] ?? 0))];
  const shape = [...d.shape.slice(0, 2), ...inputs];
  if ([...front, ...back].every((n, i) => n >= 0 && n <= (far[i % far.length] ?? 0)) && strides.every((n) => n === 1)) {
    const attributes = {
      kernel_shape: ints(kernel),
      ...(dilations.some((n) => n !== 1) ? { dilations: ints(dilations) } : {}),
      pads: ints([...front, ...back]),
      count_include_pad: int(1),
    };
    return g.mul(g.op("AveragePool", [d], attributes, { dtype: d.dtype, shape }), sizeOf(kernel));
  }
  const maps = sizeOf(d.shape.slice(0, 2));
  const ones = g.expand(1, [1, 1, ...kernel], d.dtype);
  const single = g.reshape(d, [maps, 1, ...d.shape.slice(2)]);
  return g.reshape(dataGradient(g, ones, single, { groups: 1, window }), shape);
}

/** Positions that each window counts: all that it has, or those that are not padding. [1, 1, ...outputs] */
function counts(c: GradContext, { kernel, strides, dilations, before, inputs, outputs }: Window): readonly number[] {
  const padded = intAttr(c.node, "count_include_pad", 0) === 1;
  const given = intsAttr(c.node, "pads", undefined);
  const each = outputs.map((n, axis) => {
    const front = before[axis] ?? 0;
    const [low, high] = padded
      ? [-front, (inputs[axis] ?? 0) + (given?.[axis + outputs.length] ?? Number.POSITIVE_INFINITY)]
      : [0, inputs[axis] ?? 0];
    return Array.from({ length: n }, (_, i) => {
      const first = i * (strides[axis] ?? 1) - front;
      const places = Array.from({ length: kernel[axis] ?? 1 }, (_, k) => first + k * (dilations[axis] ?? 1));
      return places.filter((place) => place >= low && place < high).length;
    });
  });
  return each.reduce<readonly number[]>((all, axis) => all.flatMap((n) => axis.map((m) => n * m)), [1]);
}

/** Every position that a mean counts gets its share. */
export const averagePoolGradient: GradRule = (c, dy) => {
  const { g } = c;
  const window = poolWindow(c);
  const divisors = counts(c, window);
  const [first = 1] = divisors;
  if (divisors.every((n) => n === first)) return [sumOfWindows(g, g.div(dy, first), window)];
  const table = fromFloats(dy.dtype === "f64" ? "f64" : "f32", [1, 1, ...window.outputs], Float64Array.from(divisors));
  return [sumOfWindows(g, g.div(dy, g.cast(g.constant(table, "counts"), dy.dtype)), window)];
};

/**
 * The largest positions of a window share its gradient. Compared with the maximum are, side by side, a window's positions
 * where windows do not overlap; else one slice for each kernel position, which a transposed convolution with one-hot
 * kernels puts back and adds up. No indices, which not every provider gives.
 */
export const maxPoolGradient: GradRule = (c, dy) => {
  const { g, x, y } = c;
  if (c.dy(1) !== null) c.refuse("its indices are no numbers to differentiate");
  const window = poolWindow(c);
  const { kernel, outputs } = window;
  const taps = sizeOf(kernel);
  if (isTiling(window)) {
    const tops = repeated(g, y(0), window);
    const covered = g.cut(
      x(0),
      outputs.map((n, i) => ({ axis: i + 2, start: 0, end: n * (kernel[i] ?? 1), step: 1 })),
    );
    const hits = g.cast(g.equal(covered, tops), dy.dtype);
    const mean = g.op("AveragePool", [hits], { kernel_shape: ints(kernel), strides: ints(kernel) }, dy);
    return [withRest(g, g.mul(hits, repeated(g, g.div(g.div(dy, taps), mean), window)), window)];
  }
  const lowest = dy.dtype === "f16" ? -65504 : -3.4e38;
  const hits = seen(g, x(0), window, lowest).map((part) => g.cast(g.equal(part, y(0)), dy.dtype));
  const share = g.div(dy, g.total(hits));
  const maps = sizeOf(dy.shape.slice(0, 2));
  const parts = hits.map((hit) => g.reshape(g.mul(hit, share), [maps, 1, ...outputs]));
  const places = new Float64Array(taps * taps);
  for (let i = 0; i < taps; i++) places[i * taps + i] = 1;
  const oneHot = g.cast(g.constant(fromFloats("f32", [taps, 1, ...kernel], places), "one-hot"), dy.dtype);
  return [g.reshape(dataGradient(g, oneHot, g.concat(parts, 1), { groups: 1, window }), x(0).shape)];
};

/** d|x|ᵖ/dx for the p-norm y of something, over p · yᵖ⁻¹: sign(x) · (|x| / y)ᵖ⁻¹, split into what x and y give. */
function normParts(c: FormulaContext, dy: Value): { readonly slope: Value; readonly carried: Value } {
  const { g, x, y } = c;
  const p = intAttr(c.node, "p", 2);
  if (p === 1) return { slope: g.map("Sign", x(0)), carried: dy };
  const slope = p === 2 ? x(0) : g.mul(g.map("Sign", x(0)), g.pow(g.map("Abs", x(0)), p - 1));
  const norm = p === 2 ? y(0) : g.pow(y(0), p - 1);
  return { slope, carried: g.where(g.greater(y(0), 0), g.div(dy, norm), 0) };
}

export const lpPoolGradient: GradRule = (c, dy) => {
  const { slope, carried } = normParts(c, dy);
  return [c.g.mul(slope, sumOfWindows(c.g, carried, poolWindow(c)))];
};

const positions = (c: FormulaContext): number => sizeOf(c.x(0).shape.slice(2));

export const globalAverageGradient: GradRule = (c, dy) => [c.g.div(dy, positions(c))];

/** The largest positions share the gradient. */
export const globalMaxGradient: GradRule = (c, dy) => {
  const { g, x, y } = c;
  const hits = g.cast(g.equal(x(0), y(0)), dy.dtype);
  const spatial = dy.shape.map((_, i) => i).slice(2);
  return [g.mul(hits, g.div(dy, g.sum(hits, spatial, true)))];
};

export const globalLpGradient: GradRule = (c, dy) => {
  const { slope, carried } = normParts(c, dy);
  return [c.g.mul(slope, carried)];
};
