import type { Algebra, Value } from "../graph/algebra/algebra.ts";
import { floatAttr, stringAttr } from "../graph/attributes.ts";
import { elementwise, unary } from "./elementwise.ts";
import type { FormulaContext, GradContext, GradRule, OpSpec } from "./spec.ts";

/** dx = f'(x) · dy. */
const slope =
  (derivative: (c: GradContext) => Value): GradRule =>
  (c, dy) => [c.g.mul(dy, derivative(c))];

/**
 * `inside` times dy where the condition holds, else `outside` times dy. Between dy and nothing, a product with the condition
 * as a number takes two thirds of the time of a choice.
 */
const gate =
  (
    condition: (c: GradContext) => Value,
    inside: number | ((c: GradContext) => Value),
    outside: number | ((c: GradContext) => Value),
  ): GradRule =>
  (c, dy) => {
    const part = (factor: typeof inside) => {
      if (factor === 0) return 0;
      return factor === 1 ? dy : c.g.mul(dy, typeof factor === "number" ? factor : factor(c));
    };
    if (inside === 1 && outside === 0) return [c.g.mul(dy, c.g.cast(condition(c), dy.dtype))];
    return [c.g.where(condition(c), part(inside), part(outside))];
  };

const positive = ({ g, x }: FormulaContext): Value => g.greater(x(0), 0);
const attribute = (c: FormulaContext, name: string, absent: number): number => floatAttr(c.node, name, absent);

/** d/dx of x · Φ(x): Φ(x) + x · φ(x), where Φ is the normal distribution and φ its density. */
function gaussianSlope(g: Algebra, x: Value): Value {
  const density = g.mul(g.exp(g.mul(g.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  const distribution = g.mul(g.add(g.map("Erf", g.mul(x, Math.SQRT1_2)), 1), 0.5);
  return g.add(distribution, g.mul(x, density));
}

/** d/dx of x/2 · (1 + tanh u) with u = √(2/π) · (x + 0.044715 x³). */
function tanhGaussianSlope(g: Algebra, x: Value): Value {
  const scale = Math.sqrt(2 / Math.PI);
  const square = g.square(x);
  const t = g.tanh(g.mul(g.mul(x, g.add(g.mul(square, 0.044715), 1)), scale));
  const inner = g.mul(g.add(g.mul(square, 3 * 0.044715), 1), scale);
  const bend = g.mul(g.mul(g.sub(1, g.square(t)), inner), x);
  return g.mul(g.add(g.add(t, 1), bend), 0.5);
}

/** d/dx of x · σ(αx): s + αx · s · (1 − s). */
function sigmoidProductSlope(g: Algebra, x: Value, alpha: number): Value {
  const scaled = g.mul(x, alpha);
  const s = g.sigmoid(scaled);
  return g.mul(s, g.add(g.mul(scaled, g.sub(1, s)), 1));
}

const biased = ({ g, x, has }: FormulaContext): Value => (has(1) ? g.add(x(0), x(1)) : x(0));
const both = (c: FormulaContext, d: Value): readonly (Value | null)[] => [d, c.has(1) ? d : null];

export const gelu: OpSpec = unary(
  slope((c) => {
    const tanh = stringAttr(c.node, "approximate", "none") === "tanh";
    return tanh ? tanhGaussianSlope(c.g, c.x(0)) : gaussianSlope(c.g, c.x(0));
  }),
);

/** com.microsoft: Gelu of x + bias, exact or with tanh. */
export const biasGelu: OpSpec = elementwise((c, dy) => both(c, c.g.mul(dy, gaussianSlope(c.g, biased(c)))));
export const fastGelu: OpSpec = elementwise((c, dy) => both(c, c.g.mul(dy, tanhGaussianSlope(c.g, biased(c)))));
export const quickGelu: OpSpec = unary(slope((c) => sigmoidProductSlope(c.g, c.x(0), attribute(c, "alpha", 1.702))));

/** Functions of one operand, position by position. */
export const activations = {
  Abs: unary(slope(({ g, x }) => g.map("Sign", x(0)))),
  Acos: unary(({ g, x }, dy) => [g.neg(g.div(dy, g.sqrt(g.sub(1, g.square(x(0))))))]),
  Acosh: unary(({ g, x }, dy) => [g.div(dy, g.sqrt(g.sub(g.square(x(0)), 1)))]),
  Asin: unary(({ g, x }, dy) => [g.div(dy, g.sqrt(g.sub(1, g.square(x(0)))))]),
  Asinh: unary(({ g, x }, dy) => [g.div(dy, g.sqrt(g.add(g.square(x(0)), 1)))]),
  Atan: unary(({ g, x }, dy) => [g.div(dy, g.add(g.square(x(0)), 1))]),
  Atanh: unary(({ g, x }, dy) => [g.div(dy, g.sub(1, g.square(x(0))))]),
  BitwiseNot: unary("flat"),
  Ceil: unary("flat"),
  Celu: unary(gate(positive, 1, (c) => c.g.exp(c.g.div(c.x(0), attribute(c, "alpha", 1))))),
  Cos: unary(slope(({ g, x }) => g.neg(g.map("Sin", x(0))))),
  Cosh: unary(slope(({ g, x }) => g.map("Sinh", x(0)))),
  Elu: unary(gate(positive, 1, (c) => c.g.add(c.y(0), attribute(c, "alpha", 1)))),
  Erf: unary(slope(({ g, x }) => g.mul(g.exp(g.neg(g.square(x(0)))), 2 / Math.sqrt(Math.PI)))),
  Exp: unary(slope(({ y }) => y(0))),
  Floor: unary("flat"),
  Gelu: gelu,
  HardSigmoid: unary(
    gate(
      ({ g, y }) => g.less(g.map("Abs", g.sub(y(0), 0.5)), 0.5),
      (c) => c.g.scalar(attribute(c, "alpha", 0.2), c.x(0).dtype),
      0,
    ),
  ),
  HardSwish: unary(
    slope(({ g, x }) => {
      const ramp = g.add(g.div(x(0), 3), 0.5);
      return g.where(g.less(g.map("Abs", x(0)), 3), ramp, g.cast(g.greater(x(0), 0), x(0).dtype));
    }),
  ),
  IsInf: unary("flat"),
  IsNaN: unary("flat"),
  LeakyRelu: unary(gate(positive, 1, (c) => c.g.scalar(attribute(c, "alpha", 0.01), c.x(0).dtype))),
  Log: unary(({ g, x }, dy) => [g.div(dy, x(0))]),
  Mish: unary(
    slope(({ g, x }) => {
      const t = g.tanh(g.map("Softplus", x(0)));
      return g.add(t, g.mul(g.mul(x(0), g.sub(1, g.square(t))), g.sigmoid(x(0))));
    }),
  ),
  Neg: unary(({ g }, dy) => [g.neg(dy)]),
  Not: unary("flat"),
  Reciprocal: unary(slope(({ g, y }) => g.neg(g.square(y(0))))),
  Relu: unary(gate(({ g, y }) => g.greater(y(0), 0), 1, 0)),
  Round: unary("flat"),
  Selu: unary(
    gate(
      positive,
      (c) => c.g.scalar(attribute(c, "gamma", seluGamma), c.x(0).dtype),
      (c) => c.g.add(c.y(0), attribute(c, "gamma", seluGamma) * attribute(c, "alpha", seluAlpha)),
    ),
  ),
  Shrink: unary(gate((c) => c.g.greater(c.g.map("Abs", c.x(0)), attribute(c, "lambd", 0.5)), 1, 0)),
  Sigmoid: unary(slope(({ g, y }) => g.mul(y(0), g.sub(1, y(0))))),
  Sign: unary("flat"),
  Sin: unary(slope(({ g, x }) => g.map("Cos", x(0)))),
  Sinh: unary(slope(({ g, x }) => g.map("Cosh", x(0)))),
  Softplus: unary(slope(({ g, x }) => g.sigmoid(x(0)))),
  Softsign: unary(({ g, x }, dy) => [g.div(dy, g.square(g.add(g.map("Abs", x(0)), 1)))]),
  Sqrt: unary(({ g, y }, dy) => [g.div(g.mul(dy, 0.5), y(0))]),
  Swish: unary(slope((c) => sigmoidProductSlope(c.g, c.x(0), attribute(c, "alpha", 1)))),
  Tan: unary(slope(({ g, y }) => g.add(g.square(y(0)), 1))),
  Tanh: unary(slope(({ g, y }) => g.sub(1, g.square(y(0))))),
  ThresholdedRelu: unary(gate((c) => c.g.greater(c.x(0), attribute(c, "alpha", 1)), 1, 0)),
} satisfies Record<string, OpSpec>;

/** The standard's defaults, in float32 as it writes them. */
const seluAlpha = 1.6732631921768188;
const seluGamma = 1.0507010221481323;
