import { elementwiseAxes, need, sameAxes, tie } from "./axis-rules.ts";
import { input, type OpSpec, output } from "./spec.ts";

/** y = f(x) at every position. */
export const unary: OpSpec = { axes: sameAxes, resize: null, macs: null, kernels: null, roles: null };

/** The same elements, whatever their type becomes. */
export const carrier: OpSpec = { ...unary, roles: { carries: () => null } };

/** y = f(a, b, ...) at every position, with broadcasting. */
export const elementwise: OpSpec = { axes: elementwiseAxes, resize: null, macs: null, kernels: null, roles: null };

/** The mask output, where it is used, has the axes of the data. */
export const dropout: OpSpec = {
  ...unary,
  axes: (c) => {
    sameAxes(c);
    const x = need(c, input(0));
    for (const [i, axis] of (c.axes(output(1)) ?? []).entries()) tie(c, axis, x[i]);
  },
};

/** Reads sizes only; its result is an integer that follows by itself. */
export const sizeReader: OpSpec = { axes: () => {}, resize: null, macs: null, kernels: null, roles: null };
