import { intAttr } from "../graph/attributes.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { blockAxis, need, tie } from "./axis-rules.ts";
import { convGradient, convTransposeGradient } from "./gradients/conv-gradient.ts";
import { resampleGradient } from "./gradients/resample-gradient.ts";
import { lowerFusedConv } from "./lowerings/fused.ts";
import {
  type AxisContext,
  type Gradient,
  input,
  type OpSpec,
  output,
  type Resize,
  type ResizeContext,
} from "./spec.ts";

function spatial(c: AxisContext): void {
  for (const operand of [input(0), output(0)]) {
    for (const axis of need(c, operand).slice(2)) c.block(axis, "spatial position");
  }
  for (const axis of need(c, input(1)).slice(2)) c.block(axis, "kernel position");
}

/** Weight axes: the axis that counts groups times local channels, and the one that counts local channels. */
function newGroups(c: ResizeContext, outer: number, local: number): Resize {
  const weight = c.newShape(input(1));
  const x = c.newShape(input(0));
  const channels = outer === 0 ? x?.[1] : c.newShape(output(0))?.[1];
  const perGroup = weight?.[local];
  if (intAttr(c.node, "group", 1) === 1 || channels === undefined || perGroup === undefined) return {};
  return { attributes: { group: channels / perGroup } };
}

/** x: [n, g·i, ...], w: [g·o, i, ...], y: [n, g·o, ...]. Without groups, g = 1. */
export const conv: OpSpec = {
  axes: (c) => {
    const x = need(c, input(0));
    const w = need(c, input(1));
    const y = need(c, output(0));
    const groups = intAttr(c.node, "group", 1);
    spatial(c);
    tie(c, x[0], y[0]);
    tie(c, w[0], y[1]);
    tie(c, c.axes(input(2))?.[0], y[1]);
    if (groups === 1) {
      c.sums(input(0), 1);
      tie(c, x[1], w[1]);
      return;
    }
    const group = c.fresh(groups);
    const local = c.fresh(w[1]?.size ?? 1);
    c.sums(input(0), 1, local);
    tie(c, x[1], c.product([group, local]));
    tie(c, w[1], local);
    tie(c, y[1], c.product([group, c.fresh((w[0]?.size ?? groups) / groups)]));
  },
  resize: (c) => newGroups(c, 0, 1),
  macs: (c) => sizeOf(c.shape(output(0)) ?? []) * sizeOf((c.shape(input(1)) ?? []).slice(1)),
  kernels: (c) => [
    {
      input: 1,
      outputs: [0],
      inputs: (c.shape(input(1)) ?? []).map((_, i) => i).slice(1),
      data: { input: 0, axis: 1 },
      groups: intAttr(c.node, "group", 1),
    },
  ],
  roles: { bias: 2 },
  grad: convGradient,
};

/** com.microsoft FusedConv: a convolution with an addend and an activation. */
export const fusedConv: OpSpec = { ...conv, grad: { lower: lowerFusedConv } };

/** x: [n, g·i, ...], w: [g·i, o, ...], y: [n, g·o, ...]. */
export const convTranspose: OpSpec = {
  axes: (c) => {
    const x = need(c, input(0));
    const w = need(c, input(1));
    const y = need(c, output(0));
    const groups = intAttr(c.node, "group", 1);
    spatial(c);
    tie(c, x[0], y[0]);
    tie(c, x[1], w[0]);
    tie(c, c.axes(input(2))?.[0], y[1]);
    if (groups === 1) {
      c.sums(input(0), 1);
      tie(c, w[1], y[1]);
      return;
    }
    const group = c.fresh(groups);
    const local = c.fresh(w[1]?.size ?? 1);
    const summed = c.fresh((x[1]?.size ?? groups) / groups);
    c.sums(input(0), 1, summed);
    tie(c, x[1], c.product([group, summed]));
    tie(c, w[1], local);
    tie(c, y[1], c.product([group, local]));
  },
  resize: (c) => newGroups(c, 1, 1),
  macs: (c) => sizeOf(c.shape(input(0)) ?? []) * sizeOf((c.shape(input(1)) ?? []).slice(1)),
  kernels: (c) => [
    {
      input: 1,
      outputs: [1],
      inputs: [0, ...(c.shape(input(1)) ?? []).map((_, i) => i).slice(2)],
      data: { input: 0, axis: 1 },
      groups: intAttr(c.node, "group", 1),
    },
  ],
  roles: { bias: 2 },
  grad: convTransposeGradient,
};

/** Pooling keeps batch and channels; the window is spatial. */
export const pool = (grad: Gradient): OpSpec => ({
  grad,
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    tie(c, x[0], y[0]);
    tie(c, x[1], y[1]);
    for (const axis of [...x.slice(2), ...y.slice(2)]) c.block(axis, "spatial position");
    // Indices count positions of the whole tensor, so they change when a channel goes.
    for (const axis of c.axes(output(1)) ?? []) c.block(axis, "indices of a pooling");
    if (c.axes(output(1)) !== undefined) blockAxis(c, x[1], "indices of a pooling");
  },
  resize: null,
  macs: null,
  kernels: null,
  roles: null,
});

/** Resize and Upsample: batch and channels are kept (their scale must be 1), positions are spatial. */
export const resample: OpSpec = {
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    for (const [i, axis] of x.entries()) {
      const other = y[i];
      if (i < 2 && other !== undefined && axis.size === other.size) c.unify(axis, other);
      else {
        c.block(axis, "spatial position");
        blockAxis(c, other, "spatial position");
      }
    }
  },
  resize: (c) => {
    const dims = c.newShape(output(0));
    if (c.node.inputs[3] === undefined || c.node.inputs[3] === "" || dims === undefined) return {};
    return { sizes: { input: 3, dims: dims.map((n, i) => (c.dynamic(output(0), i) ? "dynamic" : n)), infers: false } };
  },
  macs: null,
  kernels: null,
  roles: null,
  grad: resampleGradient,
};
