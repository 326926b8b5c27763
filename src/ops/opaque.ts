import { blockAll } from "./axis-rules.ts";
import type { Gradient, GradRule, OpSpec } from "./spec.ts";

const plain = { resize: null, macs: null, kernels: null, roles: null } as const;

/** For operators whose outputs depend on positions in ways that removal would change. */
export const opaque = (because: string, grad: Gradient = null): OpSpec => ({
  ...plain,
  grad,
  axes: (c) => blockAll(c, because),
});

/** The two values that a OneHot writes: each gets what arrives at its places. */
export const oneHotGradient: GradRule = (c, dy) => {
  const { g, x } = c;
  const values = g.concat([g.expand(0, [1], dy.dtype), g.expand(1, [1], dy.dtype)], 0);
  const hot = g.op("OneHot", [x(0), x(1), values], Object.fromEntries(c.node.attributes), dy);
  const on = g.sum(g.mul(dy, hot));
  return [null, null, g.concat([g.reshape(g.sub(g.sum(dy), on), [1]), g.reshape(on, [1])], 0)];
};
