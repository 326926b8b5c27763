import { didYouMean, EspalierError } from "../../tensor/error.ts";
import { llamaCpp } from "./llama-cpp.ts";
import type { Loader } from "./loader.ts";
import { onnxruntime } from "./onnxruntime.ts";
import { transformers } from "./transformers.ts";
import { transformersJs } from "./transformers-js.ts";
import { vllm } from "./vllm.ts";

/** Loaders by the names that the command line takes. */
export const loaderNames = ["transformers", "vllm", "llama.cpp", "onnxruntime", "transformers.js"] as const;
export type LoaderName = (typeof loaderNames)[number];

export const loaders: Readonly<Record<LoaderName, Loader>> = {
  transformers,
  vllm,
  "llama.cpp": llamaCpp,
  onnxruntime,
  "transformers.js": transformersJs,
};

/** Reads the name of a loader. Throws `request` with the known ones. */
export function loaderNamed(text: string): LoaderName {
  const found = loaderNames.find((name) => name === text.trim());
  if (found !== undefined) return found;
  const message = `expected one of ${loaderNames.join(", ")}, got "${text}".`;
  throw new EspalierError("request", "--target", message, didYouMean(text, loaderNames));
}

/** Throws `request` where something that reads checkpoints is to load an ONNX model. */
export function refuseCheckpointLoaders(names: readonly LoaderName[], where: string): void {
  const found = names.find((name) => loaders[name].reads === "checkpoint");
  if (found === undefined) return;
  const message = `expected a folder of a checkpoint, which ${loaders[found].title} reads, got an ONNX model.`;
  const others = loaderNames.filter((name) => loaders[name].reads === "onnx").join(" or ");
  throw new EspalierError("request", `${where}: --target ${found}`, message, `ONNX is for ${others}.`);
}
