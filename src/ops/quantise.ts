import { intAttr } from "../graph/attributes.ts";
import { axisOf, blockAxis, need, sameAxes, tie } from "./axis-rules.ts";
import { type GradRule, input, type OpSpec } from "./spec.ts";

/** QuantizeLinear and DequantizeLinear: scale and zero point of an axis are cut with it. Blocked scales keep it whole. */
export const quantise: OpSpec = {
  axes: (c) => {
    sameAxes(c);
    const x = need(c, input(0));
    const axis = x[axisOf(x.length, intAttr(c.node, "axis", 1))];
    for (const operand of [input(1), input(2)]) {
      const parameter = c.axes(operand);
      if (parameter === undefined || parameter.length === 0) continue;
      if (parameter.length === 1) tie(c, parameter[0]?.size === 1 ? undefined : parameter[0], axis);
      else {
        for (const term of parameter) c.block(term, "scales of blocks of weights");
        blockAxis(c, axis, "scales of blocks of weights");
      }
    }
  },
  resize: null,
  macs: null,
  kernels: null,
  roles: null,
  grad: "flat",
};

/** y = (x − zero) · scale: integers have no gradient, their scale has. */
const scaleGradient: GradRule = (c, dy) => {
  const { g, x, has } = c;
  const scale = x(1);
  if (intAttr(c.node, "block_size", 0) !== 0) c.refuse("its scales belong to blocks");
  const axis = axisOf(dy.shape.length, intAttr(c.node, "axis", 1));
  const spread =
    scale.shape.length === 1 ? dy.shape.map((_, i) => (i === axis ? (scale.shape[0] ?? 1) : 1)) : scale.shape;
  const whole = g.cast(x(0), dy.dtype);
  const centred = has(2) ? g.sub(whole, g.reshape(g.cast(x(2), dy.dtype), spread)) : whole;
  return [null, g.reshape(g.sumTo(g.mul(dy, centred), spread), scale.shape)];
};

/** What comes out has the elements of what went in, rescaled. */
export const dequantise: OpSpec = { ...quantise, roles: { carries: () => null }, grad: scaleGradient };
