import { floatAttr, intAttr, intsAttr } from "../graph/attributes.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { at, axisOf, broadcast, need, sameAxes, tie } from "./axis-rules.ts";
import { lowerBatchNorm, trainBatchNorm } from "./batch-norm.ts";
import {
  batchNormGradient,
  groupNormGradient,
  instanceNormGradient,
  layerNormGradient,
  localResponse,
  rmsNormGradient,
  skipNorm,
} from "./gradients/norm-gradient.ts";
import {
  type AxisContext,
  type Gradient,
  type GraphContext,
  input,
  type OpSpec,
  output,
  type Resize,
  type ResizeContext,
  type Roles,
} from "./spec.ts";

const plain = { resize: null, macs: null, kernels: null, roles: null } as const;

/** Scale and bias stand where almost every norm has them. */
const affine: Roles = { scale: 1, shift: 2 };

/** Every parameter is per channel: scale, bias, mean, variance. */
export const batchNorm: OpSpec = {
  ...plain,
  grad: { lower: lowerBatchNorm, rule: batchNormGradient },
  roles: { ...affine, statistics: [3, 4], train: trainBatchNorm },
  axes: (c) => {
    sameAxes(c);
    const channels = need(c, input(0))[1];
    for (let i = 1; i < c.node.inputs.length; i++) tie(c, c.axes(input(i))?.[0], channels);
    for (let i = 1; i < c.node.outputs.length; i++) tie(c, c.axes(output(i))?.[0], channels);
  },
};

/** Statistics over positions; a GroupNorm exported through a reshape has channels among them. */
export const instanceNorm: OpSpec = {
  ...plain,
  grad: instanceNormGradient,
  roles: affine,
  axes: (c) => {
    sameAxes(c);
    const x = need(c, input(0));
    tie(c, c.axes(input(1))?.[0], x[1]);
    tie(c, c.axes(input(2))?.[0], x[1]);
    for (let axis = 2; axis < x.length; axis++) c.restricts(input(0), axis);
  },
};

/** x: [n, groups·c, ...]; scale and bias per channel, or per group in operator set 18. */
export const groupNorm: OpSpec = {
  ...plain,
  grad: groupNormGradient,
  roles: affine,
  axes: (c) => {
    sameAxes(c);
    const x = need(c, input(0));
    const channels = x[1];
    if (channels === undefined) return;
    const groups = c.fresh(intAttr(c.node, "num_groups", 1));
    const local = c.fresh(channels.size / groups.size);
    c.unify(channels, c.product([groups, local]));
    for (const operand of [input(1), input(2)]) {
      const parameter = c.axes(operand)?.[0];
      tie(c, parameter, parameter?.size === channels.size ? channels : groups);
    }
    c.restricts(input(0), 1, local);
  },
  resize: (c) => {
    const before = c.shape(input(1))?.[0];
    const channels = c.newShape(input(0))?.[1];
    const groups = intAttr(c.node, "num_groups", 1);
    const kept = c.kept(input(0), 1);
    if (kept === null || channels === undefined) return {};
    const perGroup = (c.shape(input(0))?.[1] ?? 1) / groups;
    const left = before === groups && before !== c.shape(input(0))?.[1] ? c.newShape(input(1))?.[0] : undefined;
    return { attributes: { num_groups: left ?? new Set(Array.from(kept, (i) => Math.floor(i / perGroup))).size } };
  },
};

/** Where statistics are centred, removal restricts them to what is left; a mean of squares only lacks the removed zeros. */
type Statistics = "restricts" | "sums";

function normOver(
  c: AxisContext,
  firstAxis: number,
  parameters: readonly number[],
  how: Statistics = "restricts",
): void {
  sameAxes(c);
  const x = need(c, input(0));
  const from = axisOf(x.length, firstAxis);
  for (const index of parameters) {
    const axes = c.axes(input(index));
    if (axes !== undefined) broadcast(c, axes, x);
  }
  for (let axis = from; axis < x.length; axis++) c[how](input(0), axis);
  for (let i = 1; i < c.node.outputs.length; i++) {
    for (const [axis, term] of (c.axes(output(i)) ?? []).entries()) {
      const same = x[axis];
      if (same !== undefined && same.size === term.size) c.unify(term, same);
    }
  }
}

/** Statistics over the axes from `axis` on: LayerNormalization, RMSNormalization, SimplifiedLayerNormalization. */
export const layerNorm: OpSpec = {
  ...plain,
  grad: layerNormGradient,
  axes: (c) => normOver(c, intAttr(c.node, "axis", -1), [1, 2]),
  roles: affine,
};

/**
 * With d′ of d positions left, the mean of squares is d/d′ times what it was with zeros in the removed ones. An epsilon d/d′
 * times as large and a gain √(d/d′) times as large make the norm what it was.
 */
function asMasked(c: ResizeContext, from: number, gain: number, absent: number): Resize {
  const [before, after] = [c.shape(input(0)), c.newShape(input(0))];
  if (before === undefined || after === undefined) return {};
  const first = axisOf(before.length, from);
  const ratio = sizeOf(before.slice(first)) / sizeOf(after.slice(first));
  if (ratio === 1) return {};
  const epsilon = floatAttr(c.node, "epsilon", absent);
  return {
    attributes: { epsilon: { float: epsilon * ratio } },
    scaled: [{ operand: input(gain), by: Math.sqrt(ratio) }],
  };
}

/** Nobody reads the statistics themselves, which would not be what they were. */
const onlyNorm = (c: GraphContext): boolean => c.node.outputs.slice(1, 3).every((name) => c.readers(name).length === 0);

/** RMSNormalization and SimplifiedLayerNormalization: no mean, no offset. */
export const rmsNorm: OpSpec = {
  ...layerNorm,
  roles: { scale: 1 },
  grad: rmsNormGradient,
  axes: (c) => normOver(c, intAttr(c.node, "axis", -1), [1], onlyNorm(c) ? "sums" : "restricts"),
  resize: (c) => (onlyNorm(c) ? asMasked(c, intAttr(c.node, "axis", -1), 1, 1e-5) : {}),
};

/** com.microsoft SkipLayerNormalization and its simplified form: norm of x + skip + bias, with the sum as output 3. */
export const skipLayerNorm = (biasInput: number): OpSpec => ({
  ...plain,
  grad: skipNorm(biasInput === 4 ? "LayerNormalization" : "SimplifiedLayerNormalization", biasInput),
  roles: biasInput === 4 ? { scale: 2, shift: 3 } : { scale: 2 },
  axes: (c) => {
    const skip = c.axes(input(1));
    if (skip !== undefined) broadcast(c, skip, need(c, input(0)));
    const squares = biasInput === 3 && onlyNorm(c);
    normOver(c, -1, [2, ...(biasInput === 4 ? [3] : []), biasInput], squares ? "sums" : "restricts");
    if (!squares) return;
    if (skip !== undefined) c.sums(input(1), skip.length - 1);
    if (c.axes(input(biasInput)) !== undefined) c.sums(input(biasInput), 0);
  },
  resize: biasInput === 3 ? (c) => (onlyNorm(c) ? asMasked(c, -1, 2, 1e-12) : {}) : null,
});

/** Norm over one axis (LpNormalization) or a list of axes (MeanVarianceNormalization). */
export const axisNorm = (grad: Gradient): OpSpec => ({
  ...plain,
  grad,
  axes: (c) => {
    sameAxes(c);
    const rank = need(c, input(0)).length;
    const axes =
      intsAttr(c.node, "axes", undefined) ??
      (c.node.op === "LpNormalization" ? [intAttr(c.node, "axis", -1)] : [0, 2, 3]);
    for (const axis of axes) c.restricts(input(0), axisOf(rank, axis));
  },
});

/** LRN sums over neighbouring channels, so a removed one changes its neighbours. */
export const localResponseNorm: OpSpec = {
  ...plain,
  grad: localResponse,
  axes: (c) => {
    sameAxes(c);
    const channels = at(need(c, input(0)), 1);
    if (channels !== undefined) c.block(channels, "LRN looks at neighbouring channels");
  },
};
