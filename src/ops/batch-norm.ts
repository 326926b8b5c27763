import type { Algebra, Value } from "../graph/algebra/algebra.ts";
import { float, floatAttr, intAttr } from "../graph/attributes.ts";
import type { Node } from "../graph/graph.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { sameAxes } from "./axis-rules.ts";
import { besideChannels } from "./gradients/norm-gradient.ts";
import type { FormulaContext, GradRule, OpSpec } from "./spec.ts";

/** The operator of this file, which stands in a graph from the moment that it trains until it is run. */
const composite = "espalier::BatchNorm";

/** x · factor + offset, channel by channel, in one pass over memory. x: [n, channels, ...], factor, offset: [channels]. */
function affine(g: Algebra, x: Value, factor: Value, offset: Value): Value {
  const [zeros, ones] = [0, 1].map((n) => g.expand(n, factor.shape, factor.dtype));
  return g.op("BatchNormalization", [x, factor, offset, zeros ?? null, ones ?? null], { epsilon: float(0) }, x);
}

/** Σ x² by channel. Sums over the last axes first: the runtime is fastest there. */
function sumOfSquares(g: Algebra, x: Value): Value {
  const [batch = 1, channels = 1] = x.shape;
  const inner = sizeOf(x.shape.slice(2));
  const rows = g.reshape(x, [batch * channels, inner]);
  return g.sum(g.reshape(g.reduce("ReduceSumSquare", rows, [1]), [batch, channels]), [0]);
}

/**
 * Writes the outputs: μ = mean x, σ² = mean x² − μ² (which loses digits where |μ| ≫ σ, and is never below 0), and
 * y = (x − μ) / √(σ² + ε) · s + b. Three passes over memory.
 */
function compose(c: FormulaContext): readonly Value[] {
  const { g } = c;
  const [x, scale, shift] = [c.x(0), c.x(1), c.x(2)];
  const mean = g.mean(x, besideChannels(x));
  const square = g.div(sumOfSquares(g, x), sizeOf(x.shape) / sizeOf(mean.shape));
  const variance = g.max(g.sub(square, g.square(mean)), 0);
  const y = g.op("BatchNormalization", [x, scale, shift, mean, variance], epsilonOf(c.node), x);
  return [y, mean, variance];
}

const epsilonOf = (node: Node) => ({ epsilon: float(floatAttr(node, "epsilon", 1e-5)) });

/**
 * With r = 1 / √(σ² + ε), A = s · r and m positions per channel, S = Σ dy and P = Σ dy · (x − μ) = Σ dy · x − μ · S give
 * ds = r · P, db = S and dx = A · dy + B · x + C, where B = −A · r² · P / m and C = −A · S / m − B · μ.
 * What comes back through the statistics themselves is of the same form.
 */
const rule: GradRule = (c, dy) => {
  const { g, x, y } = c;
  const [mean, variance] = [y(1), y(2)];
  const axes = besideChannels(dy);
  const count = sizeOf(dy.shape) / sizeOf(mean.shape);
  const r = g.div(1, g.sqrt(g.add(variance, floatAttr(c.node, "epsilon", 1e-5))));
  const sum = g.sum(dy, axes);
  const product = g.sub(g.sum(g.mul(dy, x(0)), axes), g.mul(mean, sum));
  const ds = g.mul(r, product);
  if (!c.wanted(0)) return [null, ds, sum];
  const a = g.mul(x(1), r);
  const [dMean, dVariance] = [c.dy(1), c.dy(2)];
  let b = g.div(g.mul(a, g.mul(g.square(r), product)), -count);
  if (dVariance !== null) b = g.add(b, g.div(dVariance, count / 2));
  let offset = g.add(g.div(g.mul(a, sum), count), g.mul(b, mean));
  if (dMean !== null) offset = g.sub(offset, g.div(dMean, count));
  const dx = g.add(affine(g, dy, a, g.neg(offset)), affine(g, x(0), b, g.mul(b, 0)));
  return [dx, ds, sum];
};

/** A norm with the statistics of its batch: x, scale, bias → y, mean and (biased) variance. */
export const batchStatisticsNorm: OpSpec = {
  axes: sameAxes,
  resize: null,
  macs: null,
  kernels: null,
  roles: null,
  grad: { rule, compose },
};

/** What a node computes with the statistics of its batch, and what they are. */
function fromBatch(c: FormulaContext): readonly [y: Value, mean: Value, variance: Value] {
  const { g } = c;
  const x = c.x(0);
  const channel = { dtype: x.dtype, shape: [x.shape[1] ?? 1] };
  const own = (index: number): Value => g.cast(c.x(index), x.dtype);
  const made = g.ops(composite, [x, own(1), own(2)], epsilonOf(c.node), [x, channel, channel]);
  const [y = x, mean = x, variance = x] = made;
  return [y, mean, variance];
}

/** A running statistic after one more batch: it keeps `momentum` of what it was. */
function moved(c: FormulaContext, running: Value, batch: Value): Value {
  const { g } = c;
  const momentum = floatAttr(c.node, "momentum", 0.9);
  return g.add(g.mul(running, momentum), g.mul(g.cast(batch, running.dtype), 1 - momentum));
}

/**
 * BatchNormalization as it trains. The variance that normalises is the biased one; the running variance takes the
 * unbiased one, as PyTorch and Keras do.
 */
export function trainBatchNorm(c: FormulaContext) {
  const { g } = c;
  const [y, mean, variance] = fromBatch(c);
  const count = sizeOf(c.x(0).shape) / sizeOf(mean.shape);
  const unbiased = g.mul(variance, count / Math.max(count - 1, 1));
  return {
    outputs: [y],
    statistics: new Map([
      [3, (running: Value) => moved(c, running, mean)],
      [4, (running: Value) => moved(c, running, unbiased)],
    ]),
  };
}

/** A node that a file says is training gives its running statistics as outputs, with the biased variance: the standard's. */
export function lowerBatchNorm(c: FormulaContext): readonly Value[] | null {
  if (intAttr(c.node, "training_mode", 0) === 0) return null;
  const [y, mean, variance] = fromBatch(c);
  return [y, moved(c, c.x(3), mean), moved(c, c.x(4), variance)];
}
