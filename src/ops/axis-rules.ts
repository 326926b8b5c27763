import { intsAttr } from "../graph/attributes.ts";
import { toBounds } from "../tensor/numeric.ts";
import { type Axis, type AxisContext, input, type NodeContext, type Operand, output } from "./spec.ts";

/** The integers of a list that is an attribute in older operator sets and an input in newer ones. */
export function intsOf(c: NodeContext, attribute: string, operand: number): readonly number[] | undefined {
  const listed = intsAttr(c.node, attribute, undefined);
  if (listed !== undefined) return listed;
  const value = c.value(operand);
  return value === undefined ? undefined : toBounds(value);
}

/** Axis number counted from 0. */
export function axisOf(rank: number, axis: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** The axes of an operand that must be there. */
export function need(c: AxisContext, operand: Operand): readonly Axis[] {
  return c.axes(operand) ?? [];
}

/** Axis by number, negative from the end. */
export function at(axes: readonly Axis[], axis: number): Axis | undefined {
  return axes[axisOf(axes.length, axis)];
}

/** Unifies two axes where both exist. */
export function tie(c: AxisContext, a: Axis | undefined, b: Axis | undefined): void {
  if (a !== undefined && b !== undefined) c.unify(a, b);
}

export function blockAxis(c: AxisContext, axis: Axis | undefined, because: string): void {
  if (axis !== undefined) c.block(axis, because);
}

/** Blocks every axis of every operand. */
export function blockAll(c: AxisContext, because: string): void {
  for (const [index, name] of c.node.inputs.entries()) {
    if (name !== "") for (const axis of c.axes(input(index)) ?? []) c.block(axis, because);
  }
  for (const [index, name] of c.node.outputs.entries()) {
    if (name !== "") for (const axis of c.axes(output(index)) ?? []) c.block(axis, because);
  }
}

/** Unifies axis by axis from the right, where sizes agree: NumPy broadcasting. */
export function broadcast(c: AxisContext, from: readonly Axis[], to: readonly Axis[]): void {
  const shift = to.length - from.length;
  for (const [i, axis] of from.entries()) {
    const target = to[i + shift];
    if (target !== undefined && axis.size === target.size) c.unify(axis, target);
  }
}

/** Every input broadcasts to every output: element-wise operators of any number of inputs. */
export function elementwiseAxes(c: AxisContext): void {
  const result = need(c, output(0));
  for (const [index, name] of c.node.inputs.entries()) {
    if (name !== "") broadcast(c, need(c, input(index)), result);
  }
  for (let i = 1; i < c.node.outputs.length; i++) {
    const other = c.axes(output(i));
    if (other !== undefined) broadcast(c, other, result);
  }
}

/** Input 0 and output 0 share all axes; other inputs are parameters of no axis. */
export function sameAxes(c: AxisContext): void {
  const x = need(c, input(0));
  const y = need(c, output(0));
  for (const [i, axis] of x.entries()) tie(c, axis, y[i]);
}
