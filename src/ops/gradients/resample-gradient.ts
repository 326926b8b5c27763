import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { ints, string, stringAttr } from "../../graph/attributes.ts";
import type { Attribute } from "../../graph/graph.ts";
import { fromFloats, fromInts, toFloat64 } from "../../tensor/numeric.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import type { GradContext, GradRule } from "../spec.ts";

/** The identity of n rows as one image. */
function identity(g: Algebra, n: number): Value {
  const values = new Float64Array(n * n);
  for (let i = 0; i < n; i++) values[i * n + i] = 1;
  return g.constant(fromFloats("f32", [1, 1, n, n], values), "identity");
}

/** How one axis is resampled. */
interface AxisScale {
  readonly before: number;
  readonly after: number;
  /** Given scale; undefined where the node names sizes. */
  readonly scale: number | undefined;
  /** The part of the axis that is looked at, as start and end. */
  readonly region: readonly [number, number];
}

/**
 * The matrix [before, after] that resamples rows: what the operator itself makes of the identity. So every mode,
 * coordinate transformation, anti-aliasing and extrapolation is the runtime's, and a constant once it is compiled.
 */
function matrixOf(c: GradContext, { before, after, scale, region }: AxisScale): Value {
  const { g } = c;
  const attributes: Record<string, Attribute> = {};
  for (const [name, value] of c.node.attributes) if (name !== "axes" && name !== "scales") attributes[name] = value;
  if (c.node.op === "Upsample") {
    attributes["coordinate_transformation_mode"] = string("asymmetric");
    attributes["nearest_mode"] = string("floor");
  }
  const roi = g.constant(fromFloats("f32", [8], Float64Array.of(0, 0, 0, region[0], 1, 1, 1, region[1])), "region");
  const size =
    scale === undefined
      ? [null, g.constant(fromInts("i64", [4], [1, 1, before, after]), "sizes")]
      : [g.constant(fromFloats("f32", [4], Float64Array.of(1, 1, 1, scale)), "scales")];
  const image = identity(g, before);
  const apply = (x: Value): Value =>
    g.op("Resize", [x, roi, ...size], attributes, { dtype: "f32", shape: [1, 1, before, after] });
  const cropped = stringAttr(c.node, "coordinate_transformation_mode", "half_pixel") === "tf_crop_and_resize";
  const matrix = cropped ? g.sub(apply(image), apply(g.sub(image, image))) : apply(image);
  return g.reshape(matrix, [before, after]);
}

/** The scales of the axes that are resampled; undefined where sizes are named. */
function scalesOf(c: GradContext): ReadonlyMap<number, number> | undefined {
  const upsample = c.node.op === "Upsample";
  const index = upsample ? 1 : 2;
  const listed = c.node.attributes.get("scales");
  const attribute = listed?.kind === "floats" ? listed.value : undefined;
  if (attribute === undefined && (!c.has(index) || sizeOf(c.x(index).shape) === 0)) return undefined;
  const value = c.value(index);
  const values = attribute ?? (value === undefined ? c.refuse("its scales depend on the data") : [...toFloat64(value)]);
  return new Map(values.map((scale, i) => [axesOf(c)[i] ?? i, scale]));
}

function axesOf(c: GradContext): readonly number[] {
  const axes = c.node.attributes.get("axes");
  const rank = c.x(0).shape.length;
  if (axes?.kind === "ints") return axes.value.map((axis) => (axis < 0 ? axis + rank : axis));
  return c.x(0).shape.map((_, i) => i);
}

function regionOf(c: GradContext, axis: number): readonly [number, number] {
  const value = c.has(1) && c.node.op !== "Upsample" ? c.value(1) : undefined;
  if (value === undefined || sizeOf(value.shape) === 0) return [0, 1];
  const numbers = toFloat64(value);
  const place = axesOf(c).indexOf(axis);
  return place < 0 ? [0, 1] : [numbers[place] ?? 0, numbers[place + numbers.length / 2] ?? 1];
}

/** True where each position is shown a whole number of times, in order: then the copies are summed in windows. */
function repeats(c: GradContext): boolean {
  const { node } = c;
  if (stringAttr(node, "mode", "nearest") !== "nearest") return false;
  const whole = c.x(0).shape.every((n, i) => (c.y(0).shape[i] ?? 0) % n === 0);
  if (node.op === "Upsample") return whole;
  const transformation = stringAttr(node, "coordinate_transformation_mode", "half_pixel");
  const nearest = stringAttr(node, "nearest_mode", "round_prefer_floor");
  const ordered =
    transformation === "asymmetric"
      ? nearest === "floor"
      : ["half_pixel", "half_pixel_symmetric"].includes(transformation) && nearest.startsWith("round");
  return whole && ordered && !node.attributes.has("antialias");
}

/**
 * y = x resampled axis by axis, each a product with a fixed matrix, so dx is the product of dy with their transposes.
 * Whole repetitions of the nearest position are averages of windows.
 */
export const resampleGradient: GradRule = (c, dy) => {
  const { g } = c;
  const { shape } = c.x(0);
  if (stringAttr(c.node, "keep_aspect_ratio_policy", "stretch") !== "stretch") c.refuse("it keeps the aspect ratio");
  const factors = shape.map((n, i) => (dy.shape[i] ?? n) / n);
  if (repeats(c) && factors.slice(0, 2).every((n) => n === 1) && shape.length > 2) {
    const kernel = factors.slice(2);
    const mean = g.op(
      "AveragePool",
      [dy],
      { kernel_shape: ints(kernel), strides: ints(kernel) },
      { dtype: dy.dtype, shape },
    );
    return [g.mul(mean, sizeOf(kernel))];
  }
  const scales = scalesOf(c);
  let dx = dy;
  for (const axis of axesOf(c)) {
    const [before, after] = [shape[axis] ?? 1, dy.shape[axis] ?? 1];
    const scale = scales?.get(axis);
    const region = regionOf(c, axis);
    const moved = region[0] !== 0 || region[1] !== 1;
    if (before === after && (scale === undefined || scale === 1) && !moved) continue;
    dx = alongAxis(g, dx, axis, g.cast(matrixOf(c, { before, after, scale, region }), dy.dtype));
  }
  return [dx];
};

/** Σⱼ m[i, j] · d[..., j, ...] on one axis. m: [before, after]. */
function alongAxis(g: Algebra, d: Value, axis: number, m: Value): Value {
  const [outer, inner] = [sizeOf(d.shape.slice(0, axis)), sizeOf(d.shape.slice(axis + 1))];
  const [before = 1, after = 1] = m.shape;
  const shape = d.shape.map((n, i) => (i === axis ? before : n));
  if (inner === 1) return g.reshape(g.matMul(g.reshape(d, [outer, after]), g.swapLast(m)), shape);
  return g.reshape(g.matMul(m, g.reshape(d, [outer, after, inner])), shape);
}
