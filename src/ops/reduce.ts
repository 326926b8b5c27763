import type { Value } from "../graph/algebra/algebra.ts";
import { int, intAttr } from "../graph/attributes.ts";
import { toFloat64 } from "../tensor/numeric.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { axisOf, intsOf, need, tie } from "./axis-rules.ts";
import {
  type AxisContext,
  type FormulaContext,
  type GradContext,
  type Gradient,
  type GradRule,
  type GraphContext,
  input,
  type OpSpec,
  output,
} from "./spec.ts";

/** Axes that are reduced, and the position in the output of each axis that stays. */
function reduceAxes(c: AxisContext, visit: (axis: number) => void): void {
  const x = need(c, input(0));
  const y = need(c, output(0));
  const listed = intsOf(c, "axes", 1);
  if (listed === undefined && c.node.inputs[1] !== undefined && c.node.inputs[1] !== "") {
    for (const axis of [...x, ...y]) c.block(axis, "a reduction whose axes are not known");
    return;
  }
  const none = listed === undefined || listed.length === 0;
  if (none && intAttr(c.node, "noop_with_empty_axes", 0) === 1) {
    for (const [i, axis] of x.entries()) tie(c, axis, y[i]);
    return;
  }
  const reduced = new Set((none ? x.map((_, i) => i) : listed).map((axis) => axisOf(x.length, axis)));
  const keep = intAttr(c.node, "keepdims", 1) === 1;
  let at = 0;
  for (const [i, axis] of x.entries()) {
    if (reduced.has(i)) {
      visit(i);
      if (keep) at++;
    } else tie(c, axis, y[at++]);
  }
}

const plain = { resize: null, macs: null, kernels: null, roles: null, grad: null } as const;

/** Axes of the input that a reduction runs over, from 0. */
function reducedAxes(c: FormulaContext): readonly number[] {
  const rank = c.x(0).shape.length;
  const listed = intsOf(c, "axes", 1) ?? [];
  if (listed.length > 0) return listed.map((axis) => axisOf(rank, axis));
  return intAttr(c.node, "noop_with_empty_axes", 0) === 1 ? [] : c.x(0).shape.map((_, i) => i);
}

/** A value of the reduced shape, with axes of size 1 where the reduction ran: it then broadcasts to the input. */
function kept(c: FormulaContext, value: Value): Value {
  const axes = new Set(reducedAxes(c));
  return c.g.reshape(
    value,
    c.x(0).shape.map((n, i) => (axes.has(i) ? 1 : n)),
  );
}

/** dx = f'(x, y) · dy, where y and dy stand at every position that was reduced into them. */
const spread =
  (derivative: (c: GradContext, y: Value, dy: Value) => Value): GradRule =>
  (c, dy) => [derivative(c, kept(c, c.y(0)), kept(c, dy))];

const sums = (grad: GradRule): OpSpec => ({
  ...plain,
  grad,
  axes: (c) => reduceAxes(c, (axis) => c.sums(input(0), axis)),
});

const statistic = (grad: Gradient): OpSpec => ({
  ...plain,
  grad,
  axes: (c) => reduceAxes(c, (axis) => c.restricts(input(0), axis)),
});

/**
 * True for a mean of squares as root-mean-square norms take it: x · x or x² of a value that was not centred, whose only
 * reader adds an epsilon or takes the root.
 */
function isMeanOfSquares(c: GraphContext): boolean {
  const square = c.producer(c.node.inputs[0] ?? "");
  const [x = "", other = ""] = square?.inputs ?? [];
  const two = c.known(other);
  const squared =
    square?.op === "Pow"
      ? two !== undefined && sizeOf(two.shape) === 1 && toFloat64(two)[0] === 2
      : square?.op === "Mul" && x === other;
  if (!squared) return false;
  let source = c.producer(x);
  while (source?.op === "Cast") source = c.producer(source.inputs[0] ?? "");
  const centred = source?.inputs.some((name) => c.producer(name)?.op === "ReduceMean") === true;
  const [reader, ...others] = c.readers(c.node.outputs[0] ?? "");
  const added = reader?.op === "Add" && reader.inputs.some((name) => sizeOf(c.known(name)?.shape ?? [0]) === 1);
  return !centred && others.length === 0 && (added || reader?.op === "Sqrt");
}

/** A mean is taken over what is left; one of squares counts removed positions as zeros, so that norms give what they gave. */
const mean = (grad: Gradient): OpSpec => ({
  ...plain,
  grad,
  axes: (c) => {
    const squares = isMeanOfSquares(c);
    reduceAxes(c, (axis) => (squares ? c.sums(input(0), axis) : c.restricts(input(0), axis)));
  },
  resize: (c) => {
    const [before, after] = [c.shape(input(0)), c.newShape(input(0))];
    const [was, is] = [c.shape(output(0)), c.newShape(output(0))];
    if (before === undefined || after === undefined || was === undefined || is === undefined) return {};
    const left = (sizeOf(after) / sizeOf(is)) * (sizeOf(was) / sizeOf(before));
    return left === 1 || !isMeanOfSquares(c) ? {} : { scaled: [{ operand: output(0), by: left }] };
  },
});

/** The largest, or smallest, positions share the gradient. */
const extreme = spread((c, y, dy) => {
  const hits = c.g.cast(c.g.equal(c.x(0), y), dy.dtype);
  return c.g.mul(hits, c.g.div(dy, c.g.sum(hits, reducedAxes(c), true)));
});

/**
 * Each factor gets the product of the others: y / x where no factor is 0; where one is, that one alone gets the product of
 * the rest. Second derivatives hold where no factor is 0.
 */
const product = spread((c, _, dy) => {
  const { g } = c;
  const x = c.x(0);
  const axes = reducedAxes(c);
  const isZero = g.equal(x, 0);
  const factors = g.where(isZero, 1, x);
  const zeros = g.sum(g.cast(isZero, x.dtype), axes, true);
  const all = g.mul(dy, g.reduce("ReduceProd", factors, axes, true));
  return g.where(g.equal(zeros, g.cast(isZero, x.dtype)), g.div(all, factors), 0);
});

/** Reductions. Sums and norms count a removed position as zero; means, extremes and products are taken over what is left. */
export const reductions = {
  ReduceL1: sums(spread(({ g, x }, _, dy) => g.mul(g.map("Sign", x(0)), dy))),
  ReduceL2: sums(spread(({ g, x }, y, dy) => g.mul(x(0), g.where(g.greater(y, 0), g.div(dy, y), 0)))),
  ReduceLogSum: sums(spread((c, _, dy) => c.g.div(dy, c.g.sum(c.x(0), reducedAxes(c), true)))),
  ReduceLogSumExp: statistic(spread(({ g, x }, y, dy) => g.mul(dy, g.exp(g.sub(x(0), y))))),
  ReduceMax: statistic(extreme),
  ReduceMean: mean(spread((c, _, dy) => c.g.div(dy, sizeOf(c.x(0).shape) / sizeOf(c.y(0).shape)))),
  ReduceMin: statistic(extreme),
  ReduceProd: statistic(product),
  ReduceSum: sums(spread((_, __, dy) => dy)),
  ReduceSumSquare: sums(spread(({ g, x }, _, dy) => g.mul(g.mul(x(0), 2), dy))),
} satisfies Record<string, OpSpec>;

/** Averages or takes the largest of all positions; batch and channels stay. */
export const globalPool = (grad: Gradient): OpSpec => ({
  ...plain,
  grad,
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    tie(c, x[0], y[0]);
    tie(c, x[1], y[1]);
    for (const axis of x.slice(2)) c.block(axis, "spatial position");
  },
});

/** ArgMax, ArgMin, TopK, CumSum: order along the axis is the result. */
export const alongAxis = (because: string, grad: Gradient): OpSpec => ({
  ...plain,
  grad,
  axes: (c) => {
    const x = need(c, input(0));
    const stated = (): number => intAttr(c.node, "axis", c.node.op === "TopK" ? -1 : 0);
    const axis = axisOf(x.length, c.node.op === "CumSum" ? (intsOf(c, "axis", 1)?.[0] ?? 0) : stated());
    const keep = c.node.op !== "ArgMax" && c.node.op !== "ArgMin" ? true : intAttr(c.node, "keepdims", 1) === 1;
    for (let o = 0; o < c.node.outputs.length; o++) {
      const y = c.axes(output(o));
      if (y === undefined) continue;
      for (const [i, term] of x.entries()) {
        const target = y[!keep && i > axis ? i - 1 : i];
        if (i === axis) {
          c.block(term, because);
          if (keep && target !== undefined) c.block(target, because);
        } else tie(c, term, target);
      }
    }
  },
});

/** A running sum of dy, from the other end. */
export const cumulativeGradient: GradRule = ({ g, node, x }, dy) => {
  const reverse = int(1 - intAttr(node, "reverse", 0));
  return [g.op("CumSum", [dy, x(1)], { exclusive: int(intAttr(node, "exclusive", 0)), reverse }, dy)];
};

/** What was chosen goes back to its places. */
export const topGradient: GradRule = (c, dy) => {
  const { g, node, x } = c;
  const axis = axisOf(dy.shape.length, intAttr(node, "axis", -1));
  const again = (): Value | undefined =>
    g.ops("TopK", [x(0), x(1)], Object.fromEntries(node.attributes), [dy, { dtype: "i64", shape: dy.shape }])[1];
  const indices = (node.outputs[1] ?? "") === "" ? again() : c.y(1);
  if (indices === undefined) return [];
  return [g.op("ScatterElements", [g.expand(0, x(0).shape, dy.dtype), indices, dy], { axis: int(axis) }, x(0))];
};
