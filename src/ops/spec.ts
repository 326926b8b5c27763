import type { Algebra, Value } from "../graph/algebra/algebra.ts";
import type { Node } from "../graph/graph.ts";
import type { HostTensor, Shape } from "../tensor/tensor.ts";

/**
 * One axis of one tensor as coupling sees it: a number of positions that may be a product or a concatenation of
 * smaller axes. Opaque here; rules only combine and unify.
 */
export interface Axis {
  readonly size: number;
}

/** An operand of a node: an input or an output by position. */
export type Operand = { readonly side: "input" | "output"; readonly index: number };

/** What every rule can ask about its node, at the sizes of the analysis. */
export interface NodeContext {
  readonly node: Node;
  /** Version of the operator set that the node's domain has in this model. */
  readonly opset: number;
  /** Shape of an operand; undefined where it is absent or unknown. */
  shape(operand: Operand): Shape | undefined;
  /** Value of an input that does not depend on the data: a constant, or computed from constants and shapes. */
  value(input: number): HostTensor | undefined;
  /** True where the size of this axis of this operand changes with the model's input sizes. */
  dynamic(operand: Operand, axis: number): boolean;
}

/** What rules that look beyond their node can ask. */
export interface GraphContext extends NodeContext {
  /** The node that gives a value; undefined for inputs and constants. */
  producer(value: string): Node | undefined;
  /** The nodes that read a value. */
  readers(value: string): readonly Node[];
  /** A value that does not depend on the data, by name. */
  known(value: string): HostTensor | undefined;
}

/** How a rule says what its operator does to axes. Axis numbers may be negative, counted from the end. */
export interface AxisContext extends GraphContext {
  /** The axes of an operand; undefined where the operand is absent. A rule is only called when all shapes are known. */
  axes(operand: Operand): readonly Axis[] | undefined;
  /** A new axis of `size` positions that nothing else shares yet. */
  fresh(size: number): Axis;
  /** Row-major product: the first part varies slowest. */
  product(parts: readonly Axis[]): Axis;
  /** Concatenation of parts. */
  concat(parts: readonly Axis[]): Axis;
  /** Position i of one axis is position i of the other: what is removed from one is removed from both. */
  unify(a: Axis, b: Axis): void;
  /**
   * Nothing on this axis may be removed, and why. Unless its positions stay `apart`, what the operator gives at one of them
   * may depend on the others.
   */
  block(axis: Axis, because: string, apart?: boolean): void;
  /**
   * The operator sums over this axis of this operand, or over a `part` of it, apart for each index of the rest: a removed
   * position must count as zero.
   */
  sums(operand: Operand, axis: number, part?: Axis): void;
  /** True where an operand depends on the inputs of the model. */
  isData(operand: Operand): boolean;
  /** Two matrices of data are multiplied apart for each index of this axis: its indices are heads of an attention. */
  heads(axis: Axis): void;
  /** The operator computes statistics over this axis, or a part: removing positions restricts them to what is left. */
  restricts(operand: Operand, axis: number, part?: Axis): void;
}

/** What of a node's own numbers follows the sizes of its operands, after a cut. */
export interface ResizeContext extends GraphContext {
  /** Shape of an operand after the cut. */
  newShape(operand: Operand): Shape | undefined;
  /**
   * Kept positions of an axis in their new order; null when all are kept. Ascending, unless units inside a product are chosen
   * apart for each index of a later factor; segments of a concatenation always keep their order.
   */
  kept(operand: Operand, axis: number): Int32Array | null;
}

/** New attributes and new integer operands of a resized node. */
export interface Resize {
  /** Attributes to set: an integer, a list of integers, a float; null removes the attribute. */
  readonly attributes?: Readonly<Record<string, number | readonly number[] | { readonly float: number } | null>>;
  /** Operands to multiply: float inputs before the node, or outputs behind it. */
  readonly scaled?: readonly { readonly operand: Operand; readonly by: number }[];
  /** Integer inputs to replace, by position; the caller makes constants of them. */
  readonly operands?: ReadonlyMap<number, readonly number[]>;
  /**
   * Replaces an input that lists the sizes of output 0. "dynamic" entries keep what the model computes;
   * entry -1 asks the runtime to infer, which only some operators do.
   */
  readonly sizes?: { readonly input: number; readonly dims: readonly (number | "dynamic")[]; readonly infers: boolean };
}

/** A trained matrix inside an operand: which axes are outputs (rows) and which are summed over (columns). */
export interface Kernel {
  readonly input: number;
  /** Axes of the operand that make output features; the first is the feature itself. */
  readonly outputs: readonly number[];
  /** Axes that are summed over; the first is the input feature, others are kernel positions. */
  readonly inputs: readonly number[];
  /** The operand that the columns multiply and its feature axis; null for a state that never leaves the node. */
  readonly data: { readonly input: number; readonly axis: number } | null;
  /** Number of groups for grouped convolutions: rows of group g only see the columns of group g. */
  readonly groups: number;
}

/** What operands are to their operator beyond numbers to compute with; inputs by position. */
export interface Roles {
  /** Learned factor of each channel after a norm. */
  readonly scale?: number;
  /** Learned offset of each channel after a norm. */
  readonly shift?: number;
  /** Running statistics: measured, not trained. */
  readonly statistics?: readonly number[];
  /** The node with the statistics of its batch instead, for training. */
  readonly train?: (context: FormulaContext) => Trained;
  /** Added to each output feature of the operator's own matrix. */
  readonly bias?: number;
  /** Rows that integers look up: an embedding, where it is trained. */
  readonly table?: number;
  /** Output 0 has the elements of input 0, moved or converted: which axis of it each axis is; null where all stay. */
  readonly carries?: (node: Node, rank: number) => readonly number[] | null;
}

/** The outputs of a node in training, and what its running statistics, by their position, become after a batch. */
export interface Trained {
  readonly outputs: readonly Value[];
  readonly statistics: ReadonlyMap<number, (running: Value) => Value>;
}

/** What every rule that writes formulas can ask about its node. All sizes are fixed. */
export interface FormulaContext extends NodeContext {
  readonly g: Algebra;
  /** Input i, which must be there. */
  x(index: number): Value;
  /** Output i, which must be there. */
  y(index: number): Value;
  /** True where input i is there. */
  has(index: number): boolean;
  /** Throws `gradient`: this node, in this form, cannot be differentiated, and why. */
  refuse(because: string): never;
}

export interface GradContext extends FormulaContext {
  /** Gradient that reached output i; null where none did. */
  dy(index: number): Value | null;
  /** True where somebody asks for the gradient of input i; other gradients are dropped. */
  wanted(index: number): boolean;
  /** Channels that the processor's own convolutions keep together, which the gradient may use; else 0. */
  readonly channelBlock: number;
}

/**
 * Gradients of the inputs, in their order, from `dy`, the gradient of output 0 (zeros where only others were reached).
 * Null, or nothing: none. A gradient may have any shape that the input broadcasts to: the caller sums, adds up and casts.
 * Rules write differentiable operators, so that gradients of gradients exist.
 */
export type GradRule = (context: GradContext, dy: Value) => readonly (Value | null)[];

/**
 * The outputs of a node written with other operators, which then are what is differentiated. A null output may not be
 * read. Null instead of outputs: this form stays, and differentiates by the rule.
 */
export interface Lowering {
  readonly lower: (context: FormulaContext) => readonly (Value | null)[] | null;
  readonly rule?: GradRule;
}

/**
 * An operator of our own: it differentiates as a whole, and is written with others before it runs, since no runtime has
 * it.
 */
export interface Composite {
  readonly rule: GradRule;
  readonly compose: (context: FormulaContext) => readonly Value[];
}

/**
 * How an operator differentiates. "flat": its result is constant almost everywhere, so nothing flows back. Null: it has
 * no gradient, and a graph that would need one is refused by its name.
 */
export type Gradient = GradRule | Lowering | Composite | "flat" | null;

/** Everything espalier knows of one operator. "None" is written null, never omitted. */
export interface OpSpec {
  /** How its axes relate. */
  readonly axes: (context: AxisContext) => void;
  /** What of the node itself changes with its operands' sizes; null when nothing does. */
  readonly resize: ((context: ResizeContext) => Resize) | null;
  /** Multiply-accumulates of one run; null when it has none worth counting (papers count Conv, Gemm and MatMul only). */
  readonly macs: ((context: NodeContext) => number) | null;
  /** The trained matrices it holds; null when it has none. */
  readonly kernels: ((context: NodeContext) => readonly Kernel[]) | null;
  /** Operands with a meaning of their own; null when there are none. */
  readonly roles: Roles | null;
  /** How it differentiates. */
  readonly grad: Gradient;
}

/** Name of the value that an operand of a node is; "" where it is absent. */
export function operandName({ inputs, outputs }: Pick<Node, "inputs" | "outputs">, { side, index }: Operand): string {
  return (side === "input" ? inputs : outputs)[index] ?? "";
}

export const input = (index: number): Operand => ({ side: "input", index });
export const output = (index: number): Operand => ({ side: "output", index });
