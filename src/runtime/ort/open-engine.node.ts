import { availableParallelism } from "node:os";
import { builder } from "../../graph/builder.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import type { Engine } from "../engine.ts";
import { explain } from "../explain.ts";
import type { Device } from "../runtime.ts";
import { ortEngine } from "./ort-engine.ts";
import { pack } from "./pack.ts";

export interface OpenedEngine {
  readonly engine: Engine;
  /** The device that is used, which is wasm where the native package is missing. */
  readonly device: Device;
  readonly threads: number;
  readonly version: string;
  readonly notes: readonly string[];
  /** See `Runtime`; default 0. */
  readonly channelBlock?: number;
}

const remedy =
  "Install it with: npm install onnxruntime-node --onnxruntime-node-install=skip (the flag avoids the CUDA download).";

type NodePackage = typeof import("onnxruntime-node");

/** The native package; it is an optional dependency, so it may be missing. */
function importNative(): Promise<NodePackage> {
  return import("onnxruntime-node");
}

/**
 * ONNX Runtime in this thread. Without onnxruntime-node, `cpu` becomes `wasm` and the notes say so; other devices throw
 * `runtime`. `native` stands for the package in tests.
 */
export async function openEngine(
  device: Device,
  threads: number = availableParallelism(),
  native: () => Promise<NodePackage> = importNative,
): Promise<OpenedEngine> {
  if (device === "wasm") return openWasm(threads, []);
  let ort: NodePackage;
  try {
    ort = await native();
  } catch (cause) {
    if (device !== "cpu") {
      throw new EspalierError("runtime", device, "expected the package onnxruntime-node, got none.", remedy, { cause });
    }
    return openWasm(threads, [
      `onnxruntime-node is not installed, so models run on WebAssembly (onnxruntime-web), several times slower. ${remedy}`,
    ]);
  }
  ort.env.logLevel = "fatal";
  const known = ort.listSupportedBackends().map((backend) => backend.name);
  if (!known.includes(device)) {
    const expected = `expected a device that onnxruntime-node has on this system (${known.join(", ")}, wasm)`;
    throw new EspalierError("runtime", device, `${expected}, got "${device}".`, "Choose --device cpu.");
  }
  const engine = ortEngine(ort, device, "cpu");
  if (device !== "cpu") await probe(engine, device);
  const version = `onnxruntime-node ${ort.env.versions.node ?? ort.env.versions.common}`;
  if (device !== "cpu") return { engine, device, threads, version, notes: [] };
  return { engine, device, threads, version, notes: [], channelBlock: await channelBlockOf(engine) };
}

/** Finds out that a device does not work when it is opened, and not in the middle of a job. */
async function probe(engine: Engine, device: Device): Promise<void> {
  const draft = builder("probe", 17);
  draft.output(draft.op("Relu", [draft.input("x", "f32", [1])]), "f32", [1]);
  try {
    const session = await engine.create(await pack(draft.finish()), { threads: 1, optimisation: "all", once: true });
    await engine.release(session);
  } catch (cause) {
    throw explain(cause, device);
  }
}

/**
 * How many channels this processor's convolutions keep together: what 32 channels of two positions look like in blocks. 0
 * where the runtime has no such layout.
 */
async function channelBlockOf(engine: Engine): Promise<number> {
  const draft = builder("blocks", 17);
  draft.output(draft.op("com.microsoft.nchwc::ReorderInput", [draft.input("x", "f32", [1, 32, 1, 2])], {}, "y"), "f32");
  const x = float32Tensor(
    [1, 32, 1, 2],
    Float32Array.from({ length: 64 }, (_, i) => i),
  );
  try {
    const session = await engine.create(await pack(draft.finish()), { threads: 1, optimisation: "all", once: true });
    const [y] = await engine.run(session, [["x", x]], ["y"]);
    await engine.release(session);
    // The second position of channel 0 comes right behind the first block.
    return y === undefined ? 0 : Math.max(toFloat32(y[1]).indexOf(1), 0);
  } catch {
    return 0;
  }
}

async function openWasm(threads: number, notes: readonly string[]): Promise<OpenedEngine> {
  const ort = await import("onnxruntime-web");
  ort.env.logLevel = "fatal";
  // The package reads this once, when its first session is made.
  ort.env.wasm.numThreads = threads;
  const version = `onnxruntime-web ${ort.env.versions.web ?? ort.env.versions.common}`;
  return { engine: ortEngine(ort, "wasm", "wasm"), device: "wasm", threads, version, notes };
}
