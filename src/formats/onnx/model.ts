import type { Graph } from "../../graph/graph.ts";

/** An ONNX model: the graph and what stands around it in the file. */
export interface OnnxModel {
  readonly graph: Graph;
  readonly irVersion: number;
  readonly producerName: string;
  readonly producerVersion: string;
  readonly domain: string;
  readonly modelVersion: bigint;
  readonly doc: string;
  readonly metadata: ReadonlyMap<string, string>;
  /** Fields of newer ONNX versions, kept for writing back. */
  readonly unknown: readonly Uint8Array[];
}
