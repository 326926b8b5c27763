import { intAttr } from "../graph/attributes.ts";
import { axisOf, intsOf, need, tie } from "./axis-rules.ts";
import { type AxisContext, input, type OpSpec, output } from "./spec.ts";

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

const plain = { resize: null, macs: null, kernels: null, roles: null } as const;

/** Sums, norms: a removed position counts as zero. */
export const reduceSum: OpSpec = { ...plain, axes: (c) => reduceAxes(c, (axis) => c.sums(input(0), axis)) };

/** Means, extremes, products: the statistic is taken over what is left. */
export const reduceStatistic: OpSpec = { ...plain, axes: (c) => reduceAxes(c, (axis) => c.restricts(input(0), axis)) };

/** Averages or takes the largest of all positions; batch and channels stay. */
export const globalPool: OpSpec = {
  ...plain,
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    tie(c, x[0], y[0]);
    tie(c, x[1], y[1]);
    for (const axis of x.slice(2)) c.block(axis, "spatial position");
  },
};

/** ArgMax, ArgMin, TopK, CumSum: order along the axis is the result. */
export const alongAxis = (because: string): OpSpec => ({
  ...plain,
  axes: (c) => {
    const x = need(c, input(0));
    const given = intsOf(c, "axis", 1)?.[0];
    const fallback = c.node.op === "TopK" ? -1 : 0;
    const axis = axisOf(x.length, c.node.op === "CumSum" ? (given ?? 0) : intAttr(c.node, "axis", fallback));
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
