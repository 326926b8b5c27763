import type { DType } from "../../tensor/dtype.ts";
import type { HostTensor, Shape } from "../../tensor/tensor.ts";
import type { Attributes } from "../attributes.ts";
import type { Draft } from "../draft.ts";
import type { Graph, TensorType } from "../graph.ts";
import type { Types } from "../subgraph.ts";
import { AlgebraWriter } from "./algebra-writer.ts";

/** A graph at fixed sizes: the type of every value is known, and so are the small values that do not depend on data. */
export interface SizedGraph {
  readonly graph: Graph;
  readonly types: Types;
  /** Sizes, axes, indices and the like, by name. */
  readonly values: ReadonlyMap<string, HostTensor>;
  /** Values that no gradient flows back through, see `Algebra.stop`. */
  readonly stopped?: ReadonlySet<string>;
}

/** A value of a graph with its type. */
export interface Value extends TensorType {
  readonly name: string;
}

/** Positions of an axis, both counted from 0: from `start` up to, not including, `end`, which lies below 0 going backwards. */
export interface Range {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

/** A number stands for a scalar of the other operand's type. */
export type Operand = Value | number;

/**
 * Writes formulas into a draft. Every value carries its type, so a formula with sizes that do not fit throws `shape`
 * while it is written. What would change nothing (a product with 1, a reshape to the same shape) adds no node.
 * The forms of operator set 18 and later are written. Binary operators broadcast.
 */
export interface Algebra {
  readonly draft: Draft;
  /** A value of the graph by its name. Throws `model` where its type is not known. */
  of(name: string): Value;
  /** True for names that `of` can give. */
  has(name: string): boolean;
  /** The elements of a small value that does not depend on data. */
  known(name: string): HostTensor | undefined;
  /** Version of an operator set; 0 where it is not imported. */
  opset(domain: string): number;
  /** The same number, which counts as a constant where the graph is differentiated. */
  stop(x: Value): Value;
  /** True for values that `stop` gave. */
  stopped(name: string): boolean;
  /** Forward the numbers of `hard`, exactly; backward the gradient of `soft`, as if it had been used. */
  straightThrough(hard: Value, soft: Value): Value;

  add(a: Operand, b: Operand): Value;
  sub(a: Operand, b: Operand): Value;
  mul(a: Operand, b: Operand): Value;
  div(a: Operand, b: Operand): Value;
  pow(a: Operand, b: Operand): Value;
  max(a: Operand, b: Operand): Value;
  min(a: Operand, b: Operand): Value;
  /** Adds up values of one shape; throws for none. */
  total(values: readonly Value[]): Value;
  equal(a: Operand, b: Operand): Value;
  less(a: Operand, b: Operand): Value;
  greater(a: Operand, b: Operand): Value;
  /** a where the bool holds, else b. */
  where(condition: Value, a: Operand, b: Operand): Value;
  /** f(x) at every position, by the operator's name; the type stays. */
  map(op: string, x: Value, attributes?: Attributes): Value;
  neg(x: Value): Value;
  exp(x: Value): Value;
  log(x: Value): Value;
  sqrt(x: Value): Value;
  tanh(x: Value): Value;
  sigmoid(x: Value): Value;
  square(x: Value): Value;
  cast(x: Value, dtype: DType): Value;

  /** Sums over axes, all by default; they vanish unless `keep`. */
  sum(x: Value, axes?: readonly number[], keep?: boolean): Value;
  mean(x: Value, axes?: readonly number[], keep?: boolean): Value;
  /** Any Reduce operator by its name. */
  reduce(op: string, x: Value, axes?: readonly number[], keep?: boolean): Value;
  /** Sums over what broadcasting from `shape` would have repeated: the result has that shape. */
  sumTo(x: Value, shape: Shape): Value;

  /** a: [..., m, k], b: [..., k, n] → [..., m, n]; batch axes broadcast. */
  matMul(a: Value, b: Value): Value;
  reshape(x: Value, shape: Shape): Value;
  transpose(x: Value, order: readonly number[]): Value;
  /** Exchanges the last two axes. */
  swapLast(x: Value): Value;
  /** Repeats by broadcasting up to the shape. */
  expand(x: Operand, shape: Shape, dtype?: DType): Value;
  concat(parts: readonly Value[], axis: number): Value;
  /** Positions from `start` up to, not including, `end` of an axis; bounds count from 0. */
  slice(x: Value, axis: number, start: number, end: number, step?: number): Value;
  /** The same on several axes at once. */
  cut(x: Value, ranges: readonly Range[]): Value;
  /** Puts zeros, or `fill`, around: so many before and after on each axis. */
  pad(x: Value, before: readonly number[], after: readonly number[], fill?: number): Value;
  /** Rows `indices` of an axis. */
  gather(x: Value, indices: Value, axis: number): Value;

  scalar(value: number, dtype?: DType): Value;
  int64(values: readonly number[], shape?: Shape): Value;
  constant(tensor: HostTensor, name?: string): Value;
  input(name: string, dtype: DType, shape: Shape): Value;
  /** Any operator with one output, whose type the caller knows; null stands for an absent input. */
  op(op: string, inputs: readonly (Value | null)[], attributes: Attributes, type: TensorType): Value;
  /** Any operator with several outputs. */
  ops(
    op: string,
    inputs: readonly (Value | null)[],
    attributes: Attributes,
    types: readonly TensorType[],
  ): readonly Value[];
  /** Tells the type of a value that was added to the draft directly. */
  declare(name: string, type: TensorType): Value;
  /** The graph with all that was written, at its sizes. */
  finish(): SizedGraph;
}

/** Starts writing into a new version of a graph. */
export function algebra({ graph, types, values, stopped = new Set() }: SizedGraph): Algebra {
  return new AlgebraWriter(graph, types, values, stopped);
}
