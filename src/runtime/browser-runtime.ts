import { EspalierError } from "../tensor/error.ts";
import { ortEngine } from "./ort/ort-engine.ts";
import type { Device, Runtime } from "./runtime.ts";
import { runtimeOverEngine } from "./runtime-over-engine.ts";

export interface BrowserOptions {
  /** Default `wasm`. */
  readonly device?: Device;
  /** Threads need a page that is cross-origin isolated; elsewhere there is one. */
  readonly threads?: number;
  /** Where the page serves onnxruntime-web's .wasm and .mjs files; bundlers give the addresses with `?url` imports. */
  readonly wasmPaths?: string | { readonly wasm?: string; readonly mjs?: string };
}

/**
 * ONNX Runtime in a browser, in the thread that calls: espalier itself runs in a web worker there.
 * Throws `runtime` for devices that a browser does not have.
 */
export async function openBrowserRuntime(options: BrowserOptions = {}): Promise<Runtime> {
  const { device = "wasm", wasmPaths } = options;
  if (device !== "wasm" && device !== "webgpu") {
    throw new EspalierError("runtime", device, `expected device wasm or webgpu in a browser, got "${device}".`);
  }
  const ort = device === "webgpu" ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
  const isolated = globalThis.crossOriginIsolated === true;
  const threads = isolated ? (options.threads ?? globalThis.navigator.hardwareConcurrency) : 1;
  const notes =
    !isolated && (options.threads ?? 1) > 1
      ? ["This page is not cross-origin isolated (COOP and COEP headers), so the runtime has one thread."]
      : [];
  ort.env.logLevel = "fatal";
  ort.env.wasm.numThreads = threads;
  if (wasmPaths !== undefined) ort.env.wasm.wasmPaths = wasmPaths;
  const version = `onnxruntime-web ${ort.env.versions.web ?? ort.env.versions.common}`;
  const settings = { threads, version, notes };
  const processor = () => runtimeOverEngine(ortEngine(ort, "wasm", "wasm"), { ...settings, device: "wasm" });
  if (device === "wasm") return processor();
  const reference = () => Promise.resolve(processor());
  return runtimeOverEngine(ortEngine(ort, device, "wasm"), { ...settings, device, reference });
}
