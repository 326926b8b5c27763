import type { OnnxModel } from "../formats/onnx/model.ts";
import { encodeToBytes } from "../formats/onnx/write.ts";
import type { Graph } from "../graph/graph.ts";
import { EspalierError } from "../tensor/error.ts";

/** A model as users hold it. Nothing changes it; pruning gives a new one that shares what did not change. */
export interface Model {
  /** File name or address, for messages and reports. */
  readonly name: string;
  readonly onnx: OnnxModel;
  /** The model as the bytes of one ONNX file. */
  encode(): Promise<Uint8Array>;
  /** Writes the model to a path, whole or not at all. Only where there is a file system. */
  save(path: string): Promise<void>;
  /** How this platform writes; handed on to models made from this one. */
  readonly saver: Save;
}

/** How a platform writes a model to a path. */
export type Save = (model: OnnxModel, path: string) => Promise<void>;

const nowhere: Save = (_, path) =>
  Promise.reject(
    new EspalierError(
      "file",
      path,
      "expected a file system, got none here.",
      "Use encode() and offer the bytes as a download.",
    ),
  );

/** Wraps what a codec read. */
export function modelFrom(name: string, onnx: OnnxModel, save: Save = nowhere): Model {
  return { name, onnx, encode: () => encodeToBytes(onnx), save: (path) => save(onnx, path), saver: save };
}

/** The same model around another graph, saved the same way. */
export function withGraph(model: Model, graph: Graph): Model {
  return modelFrom(model.name, { ...model.onnx, graph }, model.saver);
}
