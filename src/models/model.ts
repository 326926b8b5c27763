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
  /** Where this platform writes; handed on to models made from this one. */
  readonly disk: Disk;
}

/** A model that is written, but not yet where it was asked for. */
export interface StagedModel {
  /** The model as it lies there: its weights can be mapped. */
  readonly onnx: OnnxModel;
  /** Moves it to its place, and gives it as it lies there. */
  commit(): Promise<OnnxModel>;
  /** Removes it. */
  discard(): Promise<void>;
}

/** How a platform writes models to paths. */
export interface Disk {
  save(model: OnnxModel, path: string): Promise<void>;
  /** Writes a model where it can be measured before it appears at the path. */
  stage(model: OnnxModel, path: string): Promise<StagedModel>;
}

const nowhere = (_: OnnxModel, path: string): Promise<never> =>
  Promise.reject(
    new EspalierError(
      "file",
      path,
      "expected a file system, got none here.",
      "Use encode() and offer the bytes as a download.",
    ),
  );
const noDisk: Disk = { save: nowhere, stage: nowhere };

/** Wraps what a codec read. */
export function modelFrom(name: string, onnx: OnnxModel, disk: Disk = noDisk): Model {
  return { name, onnx, encode: () => encodeToBytes(onnx), save: (path) => disk.save(onnx, path), disk };
}

/** The same model around another graph, saved the same way. */
export function withGraph(model: Model, graph: Graph): Model {
  return modelFrom(model.name, { ...model.onnx, graph }, model.disk);
}
