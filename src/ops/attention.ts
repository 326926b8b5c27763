import { intAttr, intsAttr } from "../graph/attributes.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { blockAll, blockAxis, need, tie } from "./axis-rules.ts";
import {
  lowerAttention,
  lowerFusedAttention,
  lowerGroupQueryAttention,
  lowerMultiHeadAttention,
} from "./lowerings/attend.ts";
import { lowerContribRotaryEmbedding, lowerRotaryEmbedding } from "./lowerings/rotate.ts";
import { type Axis, type AxisContext, input, type NodeContext, type OpSpec, output } from "./spec.ts";

const HEAD_DIM = "positions inside a head of a fused attention";

/** A head axis times a whole head dimension. */
function headed(c: AxisContext, heads: Axis, width: number): Axis {
  const dim = c.fresh(width / heads.size);
  c.block(dim, HEAD_DIM);
  return c.product([heads, dim]);
}

function attentionMacs(c: NodeContext): number {
  const y = c.shape(output(0)) ?? [];
  // Scores and weighted sum: each token meets each token of its sequence, twice over the width.
  return 2 * sizeOf(y) * (y[1] ?? 1);
}

/**
 * com.microsoft Attention: X [batch, time, i] · W [i, q+k+v] + b, softmax per head, Y [batch, time, v].
 * A unit is a head: its part of q, k and v.
 */
export const fusedAttention: OpSpec = {
  axes: (c) => {
    const x = need(c, input(0));
    const w = need(c, input(1));
    const y = need(c, output(0));
    if (c.axes(input(4)) !== undefined) return blockAll(c, "an attention with past state");
    const heads = c.fresh(intAttr(c.node, "num_heads", 1));
    c.heads(heads);
    const total = w[1]?.size ?? 0;
    const [q, k, v] = intsAttr(c.node, "qkv_hidden_sizes", undefined) ?? [total / 3, total / 3, total / 3];
    tie(c, x[0], y[0]);
    blockAxis(c, x[1], "time");
    tie(c, x[1], y[1]);
    tie(c, x[2], w[0]);
    c.sums(input(0), 2);
    const value = headed(c, heads, v ?? 0);
    const all = c.concat([headed(c, heads, q ?? 0), headed(c, heads, k ?? 0), value]);
    tie(c, w[1], all);
    tie(c, c.axes(input(2))?.[0], w[1]);
    tie(c, y[2], value);
    for (const axis of c.axes(input(3)) ?? []) c.block(axis, "attention mask");
    for (const axis of c.axes(input(5)) ?? []) c.block(axis, "attention bias");
    if (c.axes(input(5)) !== undefined) c.block(heads, "heads have a bias of their own");
  },
  resize: (c) => {
    const before = intsAttr(c.node, "qkv_hidden_sizes", undefined);
    const total = c.newShape(input(1))?.[1];
    const kept = c.kept(input(1), 1);
    if (kept === null || total === undefined) return {};
    const old = c.shape(input(1))?.[1] ?? 1;
    const sizes = (before ?? [old / 3, old / 3, old / 3]).map((size) => (size * total) / old);
    const heads = (intAttr(c.node, "num_heads", 1) * total) / old;
    return { attributes: { num_heads: heads, ...(before === undefined ? {} : { qkv_hidden_sizes: sizes }) } };
  },
  macs: (c) => {
    const x = c.shape(input(0)) ?? [];
    return attentionMacs(c) + (x[0] ?? 1) * (x[1] ?? 1) * sizeOf(c.shape(input(1)) ?? []);
  },
  kernels: () => [{ input: 1, outputs: [1], inputs: [0], data: { input: 0, axis: 2 }, groups: 1 }],
  roles: null,
  grad: { lower: lowerFusedAttention },
};

/** com.microsoft MultiHeadAttention over projected q, k, v: [batch, time, heads·dim]. */
export const multiHeadAttention: OpSpec = {
  axes: (c) => {
    const q = need(c, input(0));
    const y = need(c, output(0));
    if (q.length !== 3 || c.node.inputs.slice(4).some((name) => name !== "")) {
      return blockAll(c, "an attention with packed, masked or past operands");
    }
    const heads = c.fresh(intAttr(c.node, "num_heads", 1));
    c.heads(heads);
    const width = (axis: Axis | undefined): Axis => headed(c, heads, axis?.size ?? heads.size);
    const key = c.axes(input(1));
    const value = c.axes(input(2));
    tie(c, q[0], y[0]);
    blockAxis(c, q[1], "time");
    tie(c, q[1], y[1]);
    tie(c, q[2], width(q[2]));
    tie(c, y[2], width(y[2]));
    for (const operand of [key, value]) {
      tie(c, operand?.[0], q[0]);
      blockAxis(c, operand?.[1], "time");
      tie(c, operand?.[2], width(operand?.[2]));
    }
    const bias = c.axes(input(3))?.[0];
    if (bias !== undefined) {
      if (key?.[2] === undefined || value?.[2] === undefined || q[2] === undefined) c.block(bias, HEAD_DIM);
      else c.unify(bias, c.concat([width(q[2]), width(key[2]), width(value[2])]));
    }
  },
  resize: (c) => {
    const before = c.shape(input(0))?.[2];
    const after = c.newShape(input(0))?.[2];
    if (before === undefined || after === undefined || before === after) return {};
    return { attributes: { num_heads: (intAttr(c.node, "num_heads", 1) * after) / before } };
  },
  macs: attentionMacs,
  kernels: null,
  roles: null,
  grad: { lower: lowerMultiHeadAttention },
};

/**
 * com.microsoft GroupQueryAttention: units are key/value heads with the query heads that read them, and the query heads of
 * each key/value head.
 */
export const groupQueryAttention: OpSpec = {
  axes: (c) => {
    const q = need(c, input(0));
    const y = need(c, output(0));
    const key = c.axes(input(1));
    const value = c.axes(input(2));
    if (key === undefined || value === undefined || (c.node.inputs[3] ?? "") !== "") {
      return blockAll(c, "a grouped attention with packed operands or past state");
    }
    const kvHeads = intAttr(c.node, "kv_num_heads", 1);
    const heads = c.fresh(kvHeads);
    const repeats = c.fresh(intAttr(c.node, "num_heads", 1) / kvHeads);
    const dim = c.fresh((key[2]?.size ?? 1) / kvHeads);
    c.block(dim, HEAD_DIM);
    c.heads(c.product([heads, repeats]));
    tie(c, q[0], y[0]);
    for (const operand of [q, key, value]) blockAxis(c, operand[1], "time");
    tie(c, q[1], y[1]);
    tie(c, q[2], c.product([heads, repeats, dim]));
    tie(c, y[2], c.product([heads, repeats, dim]));
    tie(c, key[2], c.product([heads, dim]));
    tie(c, value[2], c.product([heads, dim]));
    for (let i = 1; i < c.node.outputs.length; i++) {
      for (const axis of c.axes(output(i)) ?? []) c.block(axis, "present state of an attention");
    }
  },
  resize: (c) => {
    const before = c.shape(input(1))?.[2];
    const [keys, queries] = [c.newShape(input(1))?.[2], c.newShape(input(0))?.[2]];
    if (before === undefined || keys === undefined || queries === undefined) return {};
    const dim = before / intAttr(c.node, "kv_num_heads", 1);
    return { attributes: { num_heads: queries / dim, kv_num_heads: keys / dim } };
  },
  macs: attentionMacs,
  kernels: null,
  roles: null,
  grad: { lower: lowerGroupQueryAttention },
};

/** ai.onnx Attention (opset 23) with 4-D operands: q [batch, heads, time, dim], k and v [batch, kv heads, time, dim]. */
export const attention: OpSpec = {
  axes: (c) => {
    const q = need(c, input(0));
    const k = need(c, input(1));
    const v = need(c, input(2));
    const y = need(c, output(0));
    const extra = c.node.inputs.slice(4).some((name) => name !== "");
    const scaled = c.node.attributes.has("scale");
    if (q.length !== 4 || extra) return blockAll(c, "an attention with packed operands or past state");
    const repeats = c.fresh((q[1]?.size ?? 1) / (k[1]?.size ?? 1));
    for (const operand of [k, v, y]) tie(c, operand[0], q[0]);
    for (const operand of [q, k, v]) blockAxis(c, operand[2], "time");
    tie(c, y[2], q[2]);
    tie(c, k[1], v[1]);
    if (k[1] !== undefined) tie(c, q[1], c.product([k[1], repeats]));
    if (q[1] !== undefined) c.heads(q[1]);
    tie(c, y[1], q[1]);
    tie(c, q[3], k[3]);
    tie(c, v[3], y[3]);
    c.sums(input(0), 3);
    if (!scaled) blockAxis(c, q[3], "the scale of an attention follows the size of its heads");
    for (const axis of c.axes(input(3)) ?? []) c.block(axis, "attention mask");
  },
  resize: null,
  macs: attentionMacs,
  kernels: null,
  roles: null,
  grad: { lower: lowerAttention },
};

/** Rotary embedding turns pairs inside a head; heads stay independent, positions inside a head are whole. */
export const rotaryEmbedding: OpSpec = {
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    for (const [i, axis] of x.entries()) tie(c, axis, y[i]);
    const heads = intAttr(c.node, "num_heads", 0);
    const last = x.at(-1);
    if (x.length === 3 && heads > 0 && last !== undefined) tie(c, last, headed(c, c.fresh(heads), last.size));
    else blockAxis(c, last, HEAD_DIM);
    for (let i = 1; i < c.node.inputs.length; i++) {
      for (const axis of c.axes(input(i)) ?? []) c.block(axis, "rotary table");
    }
  },
  resize: (c) => {
    const before = c.shape(input(0))?.at(-1);
    const after = c.newShape(input(0))?.at(-1);
    const heads = intAttr(c.node, "num_heads", 0);
    if (before === undefined || after === undefined || before === after || heads === 0) return {};
    return { attributes: { num_heads: (heads * after) / before } };
  },
  macs: null,
  kernels: null,
  roles: null,
  grad: { lower: lowerRotaryEmbedding },
};

/** com.microsoft RotaryEmbedding: its axes are left whole. */
export const contribRotaryEmbedding: OpSpec = {
  ...rotaryEmbedding,
  axes: (c) => blockAll(c, "a rotary embedding with a position table"),
  resize: null,
  grad: { lower: lowerContribRotaryEmbedding },
};
