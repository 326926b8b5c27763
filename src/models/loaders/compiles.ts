import type { Runtime } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { Model } from "../model.ts";
import { type LoaderName, loaders } from "./table.ts";

/**
 * Has the runtime that a loader runs on compile an ONNX model: what it cannot run whole it cannot run smaller. Throws `request`
 * with what that runtime says.
 */
export async function refuseUncompiled(runtime: Runtime, { name, onnx }: Model, loader: LoaderName): Promise<void> {
  try {
    const session = await runtime.compile(onnx.graph);
    await session.release();
  } catch (cause) {
    if (!(cause instanceof EspalierError) || cause.code !== "runtime") throw cause;
    const { title } = loaders[loader];
    const message = `expected a graph that ${title} compiles on ${runtime.device}. ${cause.message}`;
    throw new EspalierError("request", `${name}: --target ${loader}`, message, "", { cause });
  }
}
