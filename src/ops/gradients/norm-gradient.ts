import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { float, floatAttr, int, intAttr, ints, intsAttr } from "../../graph/attributes.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { axisOf } from "../axis-rules.ts";
import type { FormulaContext, GradRule, Lowering } from "../spec.ts";

/** A value of [channels] against data of [n, channels, ...]. */
const perChannel = (g: Algebra, v: Value, rank: number): Value =>
  g.reshape(v, [v.shape[0] ?? 1, ...Array.from({ length: rank - 2 }, () => 1)]);

/** Every axis but the one of channels. */
export const besideChannels = (v: Value): readonly number[] => v.shape.map((_, i) => i).filter((i) => i !== 1);

const axesFrom = (first: number, rank: number): readonly number[] =>
  Array.from({ length: rank - first }, (_, i) => first + i);

/**
 * y = (x − μ) · s / √(v + ε) + b with given statistics: an affine map of each channel.
 */
export const batchNormGradient: GradRule = (c, dy) => {
  const { g, x } = c;
  const spread = (v: Value): Value => perChannel(g, v, dy.shape.length);
  const inverse = g.div(1, g.sqrt(g.add(x(4), floatAttr(c.node, "epsilon", 1e-5))));
  const slope = g.mul(x(1), inverse);
  const axes = besideChannels(dy);
  const shift = g.sum(dy, axes);
  const needsProduct = c.wanted(1) || c.wanted(4);
  const product = needsProduct ? g.sum(g.mul(dy, g.sub(x(0), spread(x(3)))), axes) : null;
  return [
    c.wanted(0) ? g.mul(dy, spread(slope)) : null,
    product === null ? null : g.mul(product, inverse),
    shift,
    c.wanted(3) ? g.neg(g.mul(shift, slope)) : null,
    product === null ? null : g.mul(g.mul(product, -0.5), g.mul(slope, g.square(inverse))),
  ];
};

/** What a norm subtracts and divides by: x − mean, and 1 / √(variance + ε) with the reduced axes kept at 1. */
interface Standard {
  readonly centred: Value;
  readonly inverse: Value;
}

function standardise(g: Algebra, x: Value, axes: readonly number[], epsilon: number): Standard {
  const count = sizeOf(axes.map((axis) => x.shape[axis] ?? 1));
  const centred = g.sub(x, g.mean(x, axes, true));
  const variance = g.div(g.reduce("ReduceSumSquare", centred, axes, true), count);
  return { centred, inverse: g.div(1, g.sqrt(g.add(variance, epsilon))) };
}

/**
 * z = (x − mean) · r with r = 1 / √(variance + ε), and the gradient d of z, times a factor k that does not vary over `axes`:
 * dx = k · r · (d − mean d − (x − mean) · r² · mean (d · (x − mean))).
 */
function throughStandard(
  g: Algebra,
  { centred, inverse }: Standard,
  d: Value,
  axes: readonly number[],
  k: Value | 1 = 1,
): Value {
  const factor = g.mul(inverse, k);
  const along = g.mean(g.mul(d, centred), axes, true);
  const pull = g.mul(centred, g.mul(g.mul(factor, g.square(inverse)), along));
  return g.sub(g.mul(g.sub(d, g.mean(d, axes, true)), factor), pull);
}

/** Statistics over the positions of one channel of one input: scale and bias per channel. */
export const instanceNormGradient: GradRule = (c, dy) => {
  const { g, x } = c;
  const axes = axesFrom(2, dy.shape.length);
  const standard = standardise(g, x(0), axes, floatAttr(c.node, "epsilon", 1e-5));
  const scale = perChannel(g, x(1), dy.shape.length);
  const normed = (): Value => g.mul(g.sum(g.mul(dy, standard.centred), axes, true), standard.inverse);
  return [
    c.wanted(0) ? throughStandard(g, standard, dy, axes, scale) : null,
    c.wanted(1) ? g.reshape(g.sum(normed(), [0]), x(1).shape) : null,
    c.wanted(2) ? g.sum(dy, besideChannels(dy)) : null,
  ];
};

/** Statistics over a group of channels; scale and bias per channel, or per group in operator set 18. */
export const groupNormGradient: GradRule = (c, dy) => {
  const { g, x } = c;
  const [batch = 1, channels = 1] = dy.shape;
  const groups = intAttr(c.node, "num_groups", 1);
  const grouped = (v: Value): Value => g.reshape(v, [batch, groups, channels / groups, sizeOf(dy.shape.slice(2))]);
  const parameter = (v: Value): Value =>
    g.reshape(v, v.shape[0] === channels ? [groups, channels / groups, 1] : [groups, 1, 1]);
  const back = (d: Value, like: Value): Value => g.reshape(g.sumTo(d, parameter(like).shape), like.shape);
  const d = grouped(dy);
  const standard = standardise(g, grouped(x(0)), [2, 3], floatAttr(c.node, "epsilon", 1e-5));
  const normed = (): Value => g.mul(g.sum(g.mul(d, standard.centred), [3], true), standard.inverse);
  return [
    c.wanted(0) ? g.reshape(throughStandard(g, standard, g.mul(d, parameter(x(1))), [2, 3]), dy.shape) : null,
    c.wanted(1) ? back(normed(), x(1)) : null,
    c.wanted(2) ? back(g.sum(d, [3], true), x(2)) : null,
  ];
};

/** Sizes of the matrix over whose rows a norm runs. */
type Rows = readonly [rows: number, width: number];

function rowsOf(c: FormulaContext): Rows {
  const { shape } = c.x(0);
  const axis = axisOf(shape.length, intAttr(c.node, "axis", -1));
  return [sizeOf(shape.slice(0, axis)), sizeOf(shape.slice(axis))];
}

/** Σ over rows of d, in the shape of a parameter that broadcasts to them. */
function overRows(g: Algebra, d: Value, c: FormulaContext, parameter: Value): Value {
  if (sizeOf(parameter.shape) === d.shape[1]) return g.reshape(g.sum(d, [0]), parameter.shape);
  return g.sumTo(g.reshape(d, c.x(0).shape), parameter.shape);
}

/** The parameter as one row, where it has as many elements as a row; else spread to the shape of the data. */
function alongRow(g: Algebra, v: Value, c: FormulaContext, [rows, width]: Rows): Value {
  if (sizeOf(v.shape) === width) return g.reshape(v, [1, width]);
  return g.reshape(g.expand(v, c.x(0).shape), [rows, width]);
}

/**
 * z = (x − mean) · r and r of each row. The runtime's own operator gives both in one pass, with r in float32, so that
 * doubles are left to plain operators. x: [rows, width].
 */
function normed(g: Algebra, x: Value, epsilon: number): readonly [z: Value, r: Value] {
  if (x.dtype === "f64") {
    const { centred, inverse } = standardise(g, x, [1], epsilon);
    return [g.mul(centred, inverse), inverse];
  }
  const column = { dtype: "f32", shape: [x.shape[0] ?? 1, 1] } as const;
  const ones = g.expand(1, x.shape.slice(1), x.dtype);
  const attributes = { axis: int(1), epsilon: float(epsilon) };
  const [z = x, , r = x] = g.ops("LayerNormalization", [x, ones], attributes, [x, column, column]);
  return [z, g.cast(r, x.dtype)];
}

/**
 * y = z · s + b with z = (x − mean) · r. With u = dy · z,
 * dx = r · (dy · s − mean (dy · s) − z · mean (u · s)); means over a row are products with s.
 */
export const layerNormGradient: GradRule = (c, dy) => {
  const { g, x } = c;
  const rows = rowsOf(c);
  const [count, width] = rows;
  const d = g.reshape(dy, rows);
  const flat = g.reshape(x(0), rows);
  const scale = alongRow(g, x(1), c, rows);
  const [z, r] = normed(g, flat, floatAttr(c.node, "epsilon", 1e-5));
  const u = g.mul(d, z);
  const scaled = g.mul(d, scale);
  const meanOf = (v: Value, plain: Value): Value => {
    if (scale.shape[0] !== 1) return g.mean(v, [1], true);
    return g.matMul(plain, g.reshape(g.div(scale, width), [width, 1]));
  };
  const pull = g.add(g.mul(z, meanOf(g.mul(u, scale), u)), meanOf(scaled, d));
  const dx = (): Value => {
    let sum = g.mul(g.sub(scaled, pull), r);
    const [mean, inverse] = [c.dy(1), c.dy(2)];
    const column = (v: Value): Value => g.div(g.reshape(g.cast(v, dy.dtype), [count, 1]), width);
    if (mean !== null) sum = g.add(sum, column(mean));
    if (inverse !== null) sum = g.sub(sum, g.mul(z, g.mul(column(inverse), g.square(r))));
    return g.reshape(sum, x(0).shape);
  };
  return [
    c.wanted(0) ? dx() : null,
    c.wanted(1) ? overRows(g, u, c, x(1)) : null,
    c.wanted(2) ? overRows(g, d, c, x(2)) : null,
  ];
};

/**
 * y = x · r · s with r = 1 / √(mean x² + ε). With u = dy · x, dx = dy · s · r − x · r³ · mean (u · s), and ds sums u · r
 * over rows; both sums are products of matrices with vectors.
 */
export const rmsNormGradient: GradRule = (c, dy) => {
  const { g, x } = c;
  const rows = rowsOf(c);
  const [count, width] = rows;
  const d = g.reshape(dy, rows);
  const flat = g.reshape(x(0), rows);
  const scale = alongRow(g, x(1), c, rows);
  const square = g.div(g.reduce("ReduceSumSquare", flat, [1], true), width);
  const r = g.div(1, g.sqrt(g.add(square, floatAttr(c.node, "epsilon", 1e-5))));
  const u = g.mul(d, flat);
  const one = scale.shape[0] === 1;
  const mean = one ? g.matMul(u, g.reshape(g.div(scale, width), [width, 1])) : g.mean(g.mul(u, scale), [1], true);
  const cube = g.mul(g.square(r), r);
  const dx = (): Value => {
    let pull = g.mul(cube, mean);
    const inverse = c.dy(1);
    if (inverse !== null) {
      pull = g.add(pull, g.div(g.mul(g.reshape(g.cast(inverse, dy.dtype), [count, 1]), cube), width));
    }
    return g.reshape(g.sub(g.mul(g.mul(d, scale), r), g.mul(flat, pull)), x(0).shape);
  };
  const ds = (): Value => {
    if (one) return g.reshape(g.matMul(g.reshape(r, [1, count]), u), x(1).shape);
    return overRows(g, g.mul(u, r), c, x(1));
  };
  return [c.wanted(0) ? dx() : null, c.wanted(1) ? ds() : null];
};

/** y = x / ‖x‖: dx = (dy − ∇‖x‖ · Σ (dy · y)) / ‖x‖. */
export const lpNormGradient: GradRule = (c, dy) => {
  const { g, x, y } = c;
  const axis = axisOf(dy.shape.length, intAttr(c.node, "axis", -1));
  const absolute = intAttr(c.node, "p", 2) === 1;
  const norm = g.reduce(absolute ? "ReduceL1" : "ReduceL2", x(0), [axis], true);
  const along = g.sum(g.mul(dy, y(0)), [axis], true);
  return [g.div(g.sub(dy, g.mul(absolute ? g.map("Sign", x(0)) : y(0), along)), norm)];
};

/** y = (x − mean) / √(variance + ε). */
export const meanVarianceGradient: GradRule = (c, dy) => {
  const axes = (intsAttr(c.node, "axes", undefined) ?? [0, 2, 3]).map((axis) => axisOf(dy.shape.length, axis));
  return [throughStandard(c.g, standardise(c.g, c.x(0), axes, 1e-9), dy, axes)];
};

/** y = x / (k + α/size · Σ x²)^β, the sum over `size` neighbouring channels: an average over padded windows. */
export const localResponse: Lowering = {
  lower: (c) => {
    const { g } = c;
    const x = c.x(0);
    const [batch = 1, channels = 1, ...spatial] = x.shape;
    const size = intAttr(c.node, "size", 1);
    const before = Math.floor((size - 1) / 2);
    const columns = g.reshape(g.square(x), [batch, 1, channels, sizeOf(spatial)]);
    const attributes = {
      kernel_shape: ints([size, 1]),
      pads: ints([before, 0, size - 1 - before, 0]),
      count_include_pad: int(1),
    };
    const mean = g.reshape(g.op("AveragePool", [columns], attributes, columns), x.shape);
    const base = g.add(g.mul(mean, floatAttr(c.node, "alpha", 1e-4)), floatAttr(c.node, "bias", 1));
    return [g.mul(x, g.pow(base, -floatAttr(c.node, "beta", 0.75)))];
  },
};

/** The norm of x + skip + bias, which comes out as output 3, written with a sum and a plain norm. */
export const skipNorm = (op: string, bias: number): Lowering => ({
  lower: (c) => {
    const { g, x } = c;
    const operands = [x(0), x(1), ...(c.has(bias) ? [x(bias)] : [])];
    const sum = g.total(operands);
    const parameters = bias === 4 && c.has(3) ? [x(2), x(3)] : [x(2)];
    const epsilon = float(floatAttr(c.node, "epsilon", 1e-5));
    const column = { dtype: "f32", shape: [...sum.shape.slice(0, -1), 1] } as const;
    const statistics = bias === 4 ? [column, column] : [column];
    const made = g.ops(op, [sum, ...parameters], { axis: int(-1), epsilon }, [sum, ...statistics]);
    const [y = sum] = made;
    return [y, (bias === 4 ? made[1] : null) ?? null, (bias === 4 ? made[2] : made[1]) ?? null, sum];
  },
});
