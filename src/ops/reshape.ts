import { int, intAttr, intsAttr, stringAttr } from "../graph/attributes.ts";
import type { Node } from "../graph/graph.ts";
import { need, tie } from "./axis-rules.ts";
import { input, type OpSpec, output, type Resize, type ResizeContext } from "./spec.ts";

const plain = { resize: null, macs: null, kernels: null, roles: null, grad: null } as const;

/** The size list in `operand` follows output 0. Entries that the model infers (-1), copies (0) or computes stay. */
function sizesOf(c: ResizeContext, operand: number, infers: boolean): Resize {
  const before = c.shape(output(0));
  const after = c.newShape(output(0));
  if (before === undefined || after === undefined || before.every((n, i) => n === after[i])) return {};
  return { sizes: { input: operand, dims: after.map((n, i) => (c.dynamic(output(0), i) ? "dynamic" : n)), infers } };
}

/** Row-major order is all that stays: the product of the axes before is the product of the axes after. */
export const reshape: OpSpec = {
  ...plain,
  axes: (c) => c.unify(c.product(need(c, input(0))), c.product(need(c, output(0)))),
  resize: (c) => sizesOf(c, 1, true),
  grad: ({ g, x }, dy) => [g.reshape(dy, x(0).shape)],
};

/** Flatten, Squeeze and Unsqueeze: a reshape that states no sizes. */
export const refold: OpSpec = { ...reshape, resize: null };

/** Axis of the input that each axis of a Transpose's output is. */
function transposed(node: Node, rank: number): readonly number[] {
  return intsAttr(node, "perm", undefined) ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
}

export const transpose: OpSpec = {
  ...plain,
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    for (const [i, from] of transposed(c.node, x.length).entries()) tie(c, x[from], y[i]);
  },
  roles: { carries: transposed },
  grad: ({ g, node }, dy) => {
    const order = transposed(node, dy.shape.length);
    return [
      g.transpose(
        dy,
        order.map((_, i) => order.indexOf(i)),
      ),
    ];
  },
};

/** Size-1 axes are repeated; a repeated axis is new. */
export const expand: OpSpec = {
  ...plain,
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    for (const [i, axis] of x.entries()) {
      const target = y[i + y.length - x.length];
      if (axis.size !== 1) tie(c, axis, target);
    }
  },
  resize: (c) => sizesOf(c, 1, false),
  grad: (_, dy) => [dy],
};

/** Copies follow each other on the axis: a product of the number of copies and the axis. */
export const tile: OpSpec = {
  ...plain,
  grad: ({ g, x }, dy) => {
    const { shape } = x(0);
    const split = shape.flatMap((n, i) => [n === 0 ? 1 : (dy.shape[i] ?? n) / n, n]);
    const copies = shape.map((_, i) => 2 * i).filter((axis) => split[axis] !== 1);
    return [g.reshape(g.sum(g.reshape(dy, split), copies), shape)];
  },
  axes: (c) => {
    const x = need(c, input(0));
    for (const [i, target] of need(c, output(0)).entries()) {
      const axis = x[i];
      if (axis === undefined) continue;
      const copies = c.fresh(target.size / axis.size);
      if (copies.size !== 1) c.block(copies, "counts the copies of a Tile");
      c.unify(target, c.product([copies, axis]));
    }
  },
};

/** A constant of a given shape; nothing else fixes its axes. */
export const constantOfShape: OpSpec = {
  ...plain,
  axes: () => {},
  resize: (c) => sizesOf(c, 0, false),
  grad: "flat",
};

/** Depth becomes blocks: DCR orders (block, block, channel), CRD (channel, block, block). */
export const depthToSpace: OpSpec = {
  ...plain,
  grad: ({ g, node, x }, dy) => {
    const block = intAttr(node, "blocksize", 1);
    const { shape } = x(0);
    if (stringAttr(node, "mode", "DCR") === "DCR") {
      return [g.op("SpaceToDepth", [dy], { blocksize: int(block) }, { dtype: dy.dtype, shape })];
    }
    const [batch = 1, depth = 1, height = 1, width = 1] = shape;
    const split = g.reshape(dy, [batch, depth / block ** 2, height, block, width, block]);
    return [g.reshape(g.transpose(split, [0, 1, 3, 5, 2, 4]), shape)];
  },
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    const block = intAttr(c.node, "blocksize", 1);
    const mode = c.node.attributes.get("mode");
    const crd = mode?.kind === "string" && mode.value === "CRD";
    const channels = y[1];
    const depth = x[1];
    if (channels === undefined || depth === undefined) return;
    const [a, b] = [c.fresh(block), c.fresh(block)];
    for (const axis of [a, b, ...x.slice(2), ...y.slice(2)]) c.block(axis, "spatial position");
    tie(c, x[0], y[0]);
    c.unify(depth, c.product(crd ? [channels, a, b] : [a, b, channels]));
  },
};

/** Blocks become depth: (block, block, channel). */
export const spaceToDepth: OpSpec = {
  ...plain,
  grad: ({ g, node, x }, dy) => {
    const blocksize = int(intAttr(node, "blocksize", 1));
    return [g.op("DepthToSpace", [dy], { blocksize }, { dtype: dy.dtype, shape: x(0).shape })];
  },
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    const block = intAttr(c.node, "blocksize", 1);
    const channels = x[1];
    const depth = y[1];
    if (channels === undefined || depth === undefined) return;
    const [a, b] = [c.fresh(block), c.fresh(block)];
    for (const axis of [a, b, ...x.slice(2), ...y.slice(2)]) c.block(axis, "spatial position");
    tie(c, x[0], y[0]);
    c.unify(depth, c.product([a, b, channels]));
  },
};

/** One triangle of the last two axes, the other one zero: k is the diagonal that it ends at. */
export const trilu: OpSpec = {
  ...plain,
  axes: (c) => {
    for (const axis of need(c, input(0)).slice(-2)) c.block(axis, "a triangle is cut along it");
    for (const [i, axis] of need(c, input(0)).entries()) tie(c, axis, need(c, output(0))[i]);
  },
  grad: ({ g, node, x, has }, dy) => {
    const upper = int(intAttr(node, "upper", 1));
    return [g.op("Trilu", [dy, has(1) ? x(1) : null], { upper }, dy)];
  },
};

/** Sequences of given lengths, each turned round: so is their gradient. */
export const reverseSequence: OpSpec = {
  ...plain,
  axes: (c) => {
    const turned = [intAttr(c.node, "time_axis", 0), intAttr(c.node, "batch_axis", 1)];
    for (const [i, axis] of need(c, input(0)).entries()) {
      if (turned.includes(i)) c.block(axis, "sequences on it are reversed");
      tie(c, axis, need(c, output(0))[i]);
    }
  },
  grad: ({ g, node, x }, dy) => [g.op("ReverseSequence", [dy, x(1)], Object.fromEntries(node.attributes), dy)],
};
