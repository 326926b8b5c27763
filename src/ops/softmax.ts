import { intAttr } from "../graph/attributes.ts";
import { axisOf, need, sameAxes } from "./axis-rules.ts";
import { type FormulaContext, type Gradient, type GradRule, input, type OpSpec } from "./spec.ts";

const plain = { resize: null, macs: null, kernels: null, roles: null } as const;

/** The axis that a softmax runs over, as the newer operator sets define it. */
function softmaxAxis(c: FormulaContext): number {
  return axisOf(c.x(0).shape.length, intAttr(c.node, "axis", -1));
}

/** y = softmax(x): dx = y · (dy − Σ y · dy). */
export const softmaxGrad: GradRule = (c, dy) => {
  const { g, y } = c;
  return [g.mul(y(0), g.sub(dy, g.sum(g.mul(y(0), dy), [softmaxAxis(c)], true)))];
};

/** y = log softmax(x): dx = dy − exp(y) · Σ dy. */
export const logSoftmaxGrad: GradRule = (c, dy) => {
  const { g, y } = c;
  return [g.sub(dy, g.mul(g.exp(y(0)), g.sum(dy, [softmaxAxis(c)], true)))];
};

/** Softmax and its relatives: every position on the axis depends on all others. Before opset 13 it covers all later axes. */
export const softmax = (grad: Gradient): OpSpec => ({
  ...plain,
  grad,
  axes: (c) => {
    sameAxes(c);
    const x = need(c, input(0));
    const coarse = c.opset < 13;
    const axis = axisOf(x.length, intAttr(c.node, "axis", coarse ? 1 : -1));
    for (const term of coarse ? x.slice(axis) : x.slice(axis, axis + 1)) c.block(term, "a softmax runs over it");
  },
});
