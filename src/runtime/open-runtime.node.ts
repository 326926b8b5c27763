import { realpath } from "node:fs/promises";
import { parse, relative, sep } from "node:path";
import { openEngine } from "./ort/open-engine.node.ts";
import type { Locate } from "./ort/pack.ts";
import type { Device, Runtime } from "./runtime.ts";
import { runtimeOverEngine } from "./runtime-over-engine.ts";
import { openWorkerEngine } from "./worker/worker-engine.node.ts";

export interface OpenOptions {
  /** Default `cpu`. */
  readonly device?: Device;
  /** Runtime threads of one operator; default: those that the machine has. */
  readonly threads?: number;
  /** Run beside the calling thread; default true. Sources run without a build stay in the thread (see `openRuntime`). */
  readonly worker?: boolean;
  /** Aborted, nobody waits for a worker any longer: what was asked of it is refused with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * ONNX Runtime in Node. `cpu`, `webgpu` and `cuda` are onnxruntime-node's, `wasm` is onnxruntime-web's; without
 * onnxruntime-node, `cpu` becomes `wasm` and `notes` say so. A worker needs the built JavaScript, as Node 20 cannot load
 * TypeScript into one: where this module is a `.ts` file (tests), the runtime stays in the calling thread.
 * Throws `runtime` when the device is not there.
 */
export async function openRuntime(options: OpenOptions = {}): Promise<Runtime> {
  const { device = "cpu", threads, worker = true, signal } = options;
  const built = import.meta.url.endsWith(".js");
  const opened =
    worker && built
      ? await openWorkerEngine(
          new URL("./worker/runtime-worker.node.js", import.meta.url),
          { device, ...(threads === undefined ? {} : { threads }) },
          signal,
        )
      : await openEngine(device, threads);
  const { engine, ...settings } = opened;
  if (settings.device === "wasm") return runtimeOverEngine(engine, settings);
  if (settings.device === "cpu") return runtimeOverEngine(engine, { ...settings, locate });
  const reference = () => openRuntime({ ...options, device: "cpu" });
  return runtimeOverEngine(engine, { ...settings, locate, reference });
}

/**
 * The file behind a path, seen from the root of its drive: one folder then holds all files of a model. Links are followed
 * here, since the runtime refuses those that leave their folder.
 */
const locate: Locate = async (path) => {
  try {
    const real = await realpath(path);
    const { root } = parse(real);
    return { folder: root, file: relative(root, real).replaceAll(sep, "/") };
  } catch {
    return null;
  }
};
