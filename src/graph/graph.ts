import type { DType } from "../tensor/dtype.ts";
import type { HostTensor, TensorRef } from "../tensor/tensor.ts";

/**
 * One ONNX graph in memory. Values are named, each produced once: by a node, a constant (initializer) or an input.
 * Nodes are in topological order. Everything is readonly: rewriting makes a new graph that shares what did not change.
 */
export interface Graph {
  readonly name: string;
  /** Graph inputs that the caller feeds; initializers that a file also lists as inputs are not repeated here. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly nodes: readonly Node[];
  /** Initializers by name. Weights held in Constant nodes are here too (the codec lifts them). */
  readonly constants: ReadonlyMap<string, TensorRef>;
  /** Version of each operator set by domain; "" is ai.onnx. */
  readonly opsets: ReadonlyMap<string, number>;
  /** Declared types of inner values, by name, as far as the file has them. */
  readonly valueInfo: ReadonlyMap<string, ValueInfo>;
  /** Doc string, metadata, quantisation annotations and newer fields, kept for writing back. */
  readonly unknown?: readonly Uint8Array[];
}

/** A declared type. `dims`: a number is fixed, a string is a symbolic dimension, null is unknown. `undefined` rank: unknown. */
export interface ValueInfo {
  readonly name: string;
  /** Null for sequences, optionals and maps, which espalier carries and does not look into. */
  readonly dtype: DType | null;
  readonly dims?: readonly (number | string | null)[];
  /** What the codec needs to write a non-tensor type back; opaque to everybody else. */
  readonly raw?: Uint8Array;
  /** Doc string, metadata and newer fields, kept for writing back. */
  readonly unknown?: readonly Uint8Array[];
}

/** One operator application. Absent optional inputs and outputs are "". */
export interface Node {
  readonly name: string;
  readonly domain: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** Fields of newer ONNX versions, kept for writing back. */
  readonly unknown?: readonly Uint8Array[];
}

export type Attribute = (
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "floats"; readonly value: readonly number[] }
  | { readonly kind: "ints"; readonly value: readonly number[] }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "tensor"; readonly value: TensorRef }
  | { readonly kind: "graph"; readonly value: Graph }
  /**
   * Carried untouched, as the attribute's fields in the file but its name: sparse tensors, type protos, several tensors or graphs,
   * text that is no UTF-8, integers that a double cannot hold.
   */
  | { readonly kind: "opaque"; readonly value: Uint8Array }
) & {
  /** Doc string and newer fields, kept for writing back. */
  readonly unknown?: readonly Uint8Array[];
};

/** What is known of a value after shape inference at fixed input sizes. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export type Feeds = ReadonlyMap<string, HostTensor>;
