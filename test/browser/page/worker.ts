import wasmThreadMjs from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmBinary from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { openBrowserRuntime } from "../../../src/index.ts";
import { criteriaCompared, type Outcome, pruneIn } from "../job.ts";

/** Prunes the example in a web worker, since the runtime blocks the thread that it runs in. */
async function work(): Promise<void> {
  const [model, calibration] = await Promise.all(["/glyphs.onnx", "/calibration.npy"].map(bytesAt));
  if (model === undefined || calibration === undefined) throw new Error("expected two files.");
  const runtime = await openBrowserRuntime({ threads: 2, wasmPaths: { wasm: wasmBinary, mjs: wasmThreadMjs } });
  const outcomes: Outcome[] = [];
  for (const criterion of criteriaCompared) outcomes.push(await pruneIn(runtime, model, calibration, criterion));
  await runtime.close();
  postMessage({ isolated: globalThis.crossOriginIsolated, threads: runtime.threads, notes: runtime.notes, outcomes });
}

async function bytesAt(path: string): Promise<Uint8Array> {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

work().catch((error: unknown) => {
  postMessage({ failure: error instanceof Error ? `${error.message}\n${error.stack}` : String(error) });
});
