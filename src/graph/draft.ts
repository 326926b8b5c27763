import type { HostTensor, TensorRef } from "../tensor/tensor.ts";
import type { Attributes } from "./attributes.ts";
import type { Attribute, Graph, Node, ValueInfo } from "./graph.ts";

/** Where a new node goes. It only matters for reading: `finish` sorts the nodes anyway. Default: the end. */
export interface Place {
  readonly before?: Node;
  readonly after?: Node;
}

/**
 * A mutable draft of a new version of a graph. Nodes stay immutable: a change gives a new node in the same place,
 * and every earlier version of a node still names that place. All steps are constant time per use touched.
 */
export interface Draft {
  /** A name that occurs nowhere in the graph: `prefix` itself or `prefix_1`, `prefix_2` .. */
  fresh(prefix: string): string;
  /** True for a value that an input, a constant or a node defines. */
  has(value: string): boolean;
  /** The present nodes in their present order. */
  nodes(): readonly Node[];
  /** The present node that produces a value; undefined for inputs and constants. */
  producer(value: string): Node | undefined;
  /** The present nodes that read a value, each once, captures included. */
  consumers(value: string): readonly Node[];
  /** The present version of a node; throws when it was removed or belongs to another graph. */
  current(node: Node): Node;

  /** Adds a node of `op` (`"domain::Op"` outside ai.onnx) with one output and gives its name. */
  op(op: string, inputs: readonly string[], attributes?: Attributes, output?: string, place?: Place): string;
  /** The same with several outputs, which get the given names. */
  op<const T extends readonly string[]>(
    op: string,
    inputs: readonly string[],
    attributes: Attributes,
    outputs: T,
    place?: Place,
  ): T;
  /** Adds a ready node; its outputs must be new names. */
  add(node: Node, place?: Place): Node;
  /** Adds a constant under a name derived from `name` and gives its name. */
  constant(tensor: HostTensor | TensorRef, name?: string): string;
  /** An i64 constant; a list by default, a scalar with shape []. */
  int64(values: readonly number[], shape?: readonly number[], name?: string): string;
  /** An f32 constant; a list by default, a scalar with shape []. */
  float32(values: readonly number[], shape?: readonly number[], name?: string): string;
  /** Adds a graph input under exactly this name. */
  input(name: string, dtype: ValueInfo["dtype"], dims?: ValueInfo["dims"]): string;
  /** Makes a value a graph output too; a no-op when it is one. */
  output(value: string, dtype?: ValueInfo["dtype"], dims?: ValueInfo["dims"]): string;

  setInputs(node: Node, inputs: readonly string[]): Node;
  setInput(node: Node, index: number, value: string): Node;
  /** Sets attributes; null removes. */
  setAttributes(node: Node, changes: Readonly<Record<string, Attribute | null>>): Node;
  /** Puts another node in the place of one; outputs that both have keep their consumers. */
  replace(node: Node, by: Node): Node;
  remove(node: Node): void;
  /**
   * Readers of `value` read `by` instead: all of them, `only` some, or all `except` some;
   * never the node that produces `by`, so that `by = f(value)` can stand between.
   * Unless `outputs` is false or `only` is given, a graph output called `value` keeps its name and carries `by`.
   */
  replaceUses(
    value: string,
    by: string,
    options?: { readonly only?: Iterable<Node>; readonly except?: Iterable<Node>; readonly outputs?: boolean },
  ): void;
  /** Gives a constant other contents (and drops its declared type), or defines one under exactly this name. */
  setConstant(name: string, tensor: HostTensor | TensorRef): void;
  removeConstant(name: string): void;
  removeInput(name: string): void;
  setInputInfos(inputs: readonly ValueInfo[]): void;
  setOutputs(outputs: readonly ValueInfo[]): void;
  /** Declares the type of an inner value; null forgets it. */
  setType(value: string, info: Omit<ValueInfo, "name"> | null): void;
  /** Forgets the declared types of all inner values: for passes that change shapes. */
  clearTypes(): void;
  /** Makes sure that an operator set is imported. */
  setOpset(domain: string, version: number): void;
  /** The new graph, sorted, sharing what did not change; the original itself when nothing did. */
  finish(): Graph;
}
