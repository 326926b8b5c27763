import { toFloat64 } from "../tensor/numeric.ts";
import { type HostTensor, sizeOf } from "../tensor/tensor.ts";
import { elementwiseAxes, need, sameAxes, tie } from "./axis-rules.ts";
import { type FormulaContext, type Gradient, type GradRule, input, type OpSpec, output } from "./spec.ts";

const plain = { resize: null, macs: null, kernels: null, roles: null } as const;

/** y = f(x) at every position. */
export const unary = (grad: Gradient): OpSpec => ({ ...plain, axes: sameAxes, grad });

/** y = f(a, b, ...) at every position, with broadcasting. */
export const elementwise = (grad: Gradient): OpSpec => ({ ...plain, axes: elementwiseAxes, grad });

/** The same elements, whatever their type becomes; the caller casts the gradient back. */
export const carrier: OpSpec = { ...unary((_, dy) => [dy]), roles: { carries: () => null } };

/** The mask output, where it is used, has the axes of the data. Outside training it hands its input on. */
export const dropout: OpSpec = {
  ...unary((c, dy) => {
    const training = c.has(2) ? c.value(2) : undefined;
    const drops = !c.has(1) || constantOf(c.value(1)) !== 0;
    if (drops && c.has(2) && (training === undefined || training.bytes[0] !== 0)) {
      c.refuse("it draws its mask while it runs; a recipe's own dropout is seeded");
    }
    return [dy];
  }),
  axes: (c) => {
    sameAxes(c);
    const x = need(c, input(0));
    for (const [i, axis] of (c.axes(output(1)) ?? []).entries()) tie(c, axis, x[i]);
  },
};

/** Reads sizes only; its result is an integer that follows by itself. */
export const sizeReader: OpSpec = { ...plain, axes: () => {}, grad: "flat" };

/** What is largest, or smallest, gets the gradient; ties share it. */
const extreme: GradRule = (c, dy) => {
  const hits = c.node.inputs.map((_, i) => c.g.cast(c.g.equal(c.x(i), c.y(0)), dy.dtype));
  const share = c.g.div(dy, c.g.total(hits));
  return hits.map((hit) => c.g.mul(share, hit));
};

/** The only element of a value that does not depend on data. */
function constantOf(value: HostTensor | undefined): number | undefined {
  return value !== undefined && sizeOf(value.shape) === 1 ? toFloat64(value)[0] : undefined;
}

/** y = xᵖ: dx = p · xᵖ⁻¹ · dy, dp = y · log x · dy where x is positive. */
const power: GradRule = (c, dy) => {
  const { g, x, y } = c;
  const p = g.cast(x(1), dy.dtype);
  // An exponent that is trained will not stay what it is now.
  const known = c.wanted(1) ? undefined : constantOf(c.value(1));
  const slope = known === undefined ? g.mul(p, g.pow(x(0), g.sub(p, 1))) : g.mul(known, g.pow(x(0), known - 1));
  const log = (): typeof dy => g.log(g.where(g.greater(x(0), 0), x(0), 1));
  return [g.mul(dy, known === 2 ? g.mul(x(0), 2) : slope), c.wanted(1) ? g.mul(dy, g.mul(y(0), log())) : null];
};

/** Inside the bounds dy passes, outside nothing does; the bounds themselves are not trained. */
const clip: GradRule = (c, dy) => {
  if (c.wanted(1) || c.wanted(2)) c.refuse("its bounds are not differentiated");
  return [c.g.where(c.g.equal(c.x(0), c.y(0)), dy, 0)];
};

const remainder: GradRule = (c, dy) => {
  if (c.wanted(1)) c.refuse("its divisor is not differentiated");
  return [dy];
};

const each = (c: FormulaContext, dy: ReturnType<FormulaContext["x"]>) => c.node.inputs.map(() => dy);

/** Operators on several operands, position by position. */
export const arithmetic = {
  Add: elementwise((_, dy) => [dy, dy]),
  And: elementwise("flat"),
  BitShift: elementwise("flat"),
  BitwiseAnd: elementwise("flat"),
  BitwiseOr: elementwise("flat"),
  BitwiseXor: elementwise("flat"),
  Clip: elementwise(clip),
  Div: elementwise(({ g, x, y }, dy) => {
    const quotient = g.div(dy, x(1));
    return [quotient, g.neg(g.mul(quotient, y(0)))];
  }),
  Equal: elementwise("flat"),
  Greater: elementwise("flat"),
  GreaterOrEqual: elementwise("flat"),
  Less: elementwise("flat"),
  LessOrEqual: elementwise("flat"),
  Max: elementwise(extreme),
  Mean: elementwise((c, dy) => each(c, c.g.div(dy, c.node.inputs.length))),
  Min: elementwise(extreme),
  Mod: elementwise(remainder),
  Mul: elementwise(({ g, x }, dy) => [g.mul(dy, x(1)), g.mul(dy, x(0))]),
  Or: elementwise("flat"),
  PRelu: elementwise(({ g, x }, dy) => {
    const above = g.greater(x(0), 0);
    return [g.where(above, dy, g.mul(dy, x(1))), g.where(above, 0, g.mul(dy, x(0)))];
  }),
  Pow: elementwise(power),
  Sub: elementwise(({ g }, dy) => [dy, g.neg(dy)]),
  Sum: elementwise(each),
  Where: elementwise(({ g, x }, dy) => [null, g.where(x(0), dy, 0), g.where(x(0), 0, dy)]),
  Xor: elementwise("flat"),
} satisfies Record<string, OpSpec>;
