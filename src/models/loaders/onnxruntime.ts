import type { Loader } from "./loader.ts";

/** ONNX Runtime with an exported model: a graph states each of its sizes, so that any will do. */
export const onnxruntime: Loader = {
  title: "ONNX Runtime",
  version: "1.30",
  reads: "onnx",
  device: "cpu",
  rules: [],
};
