import { openOnnx } from "./formats/onnx/external.node.ts";
import { saveOnnx } from "./formats/onnx/save.node.ts";
import { type Model, modelFrom } from "./models/model.ts";
import { loadFrom } from "./public.ts";

export { imageFolder } from "./data/images.node.ts";
export { type OpenOptions as DataOptions, openData } from "./data/open.node.ts";
export * from "./public.ts";
export { type OpenOptions, openRuntime } from "./runtime/open-runtime.node.ts";
export { openTestbed, testbedIds } from "./testbeds/open.node.ts";

/** Reads a model from a path, an http(s) address, a Blob or bytes. */
export async function load(from: string | URL | Blob | Uint8Array): Promise<Model> {
  if (typeof from !== "string") return loadFrom(from);
  if (/^https?:\/\//.test(from)) return loadFrom(new URL(from));
  return modelFrom(from, await openOnnx(from), async (model, path) => {
    await saveOnnx(model, path);
  });
}
