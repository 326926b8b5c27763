/**
 * Memory of jobs on models that are larger than it: `npx tsx bench/big-model.ts [GIGABYTES]`.
 * Makes a 0.5 GB model in one file and a larger one with external data in a temporary folder, then inspects the first
 * and prunes the second by magnitude, each in a process of its own that is watched from outside.
 * Limits: inspect 200 MB of RSS; prune 1.5 GB of anonymous memory.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { magnitude } from "../src/criteria/weights/magnitude.ts";
import { modelOf } from "../src/formats/onnx/encode.ts";
import { openOnnx } from "../src/formats/onnx/external.node.ts";
import { saveOnnx } from "../src/formats/onnx/save.node.ts";
import { builder } from "../src/graph/builder.ts";
import type { Graph } from "../src/graph/graph.ts";
import { analyse } from "../src/models/analysis.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import { noStatistics, pruneWeights, type WeightSelection } from "../src/sparsify/prune-weights.ts";
import { random } from "../src/tensor/random.ts";
import { refOf, sizeOf, type TensorRef, tensor } from "../src/tensor/tensor.ts";

const limits = { inspect: { kind: "rss", bytes: 200e6 }, prune: { kind: "anonymous", bytes: 1.5e9 } } as const;

/** Normal numbers, a block of them repeated at a scale of its own, made when the file is written. */
function noise(shape: readonly number[], seed: number): TensorRef {
  const by = async (): Promise<Uint8Array> => {
    const block = new Float32Array(1 << 20);
    random(seed).fillNormal(block);
    const values = new Float32Array(sizeOf(shape));
    for (let at = 0, turn = 1; at < values.length; at += block.length, turn++) {
      const scale = 1 / (8 + turn);
      const length = Math.min(block.length, values.length - at);
      for (let i = 0; i < length; i++) values[at + i] = (block[i] ?? 0) * scale;
    }
    return new Uint8Array(values.buffer);
  };
  return { dtype: "f32", shape, made: { from: refOf(tensor("f32", [0])), by } };
}

/** A chain of matrix products of about `bytes`; one matrix is four times as large as the others. */
function chain(bytes: number, width: number): Graph {
  const draft = builder("big");
  const inner = 2 * width;
  let x = draft.input("x", "f32", ["batch", width]);
  let left = bytes - 2 * 4 * width * 8 * width;
  x = draft.op("MatMul", [x, draft.constant(noise([width, 8 * width], 0), "wide")], {}, "h");
  x = draft.op("MatMul", [x, draft.constant(noise([8 * width, width], 1), "narrow")], {}, "y");
  for (let layer = 0; left > 0; layer++) {
    x = draft.op("MatMul", [x, draft.constant(noise([width, inner], layer), `up${layer}`)], {}, `u${layer}`);
    x = draft.op("Relu", [x], {}, `r${layer}`);
    x = draft.op("MatMul", [x, draft.constant(noise([inner, width], layer + 100), `down${layer}`)], {}, `d${layer}`);
    left -= 8 * width * inner;
  }
  draft.output(x, "f32", ["batch", width]);
  return draft.finish();
}

/** The job that is not this file's own. */
const COMMAND = "prune, the command";

/** The command line as a user types it; it writes, reads back, and measures both models. */
const command = (folder: string): readonly string[] => [
  fileURLToPath(new URL("../src/cli/main.ts", import.meta.url)),
  ...["prune", join(folder, "big.onnx"), "-o", join(folder, "pruned.onnx")],
  ...["--granularity", "weight", "--criterion", "l1", "--sparsity", "0.5", "--json"],
];

const jobs: Readonly<Record<string, (folder: string, gigabytes: number) => Promise<unknown>>> = {
  "make one file": (folder) => saveOnnx(modelOf(chain(0.5e9, 2048)), join(folder, "one.onnx")),
  "make external": (folder, gigabytes) =>
    saveOnnx(modelOf(chain(gigabytes * 1e9, 4096)), join(folder, "big.onnx"), { externalData: true }),
  read: async (folder) => (await openOnnx(join(folder, "one.onnx"))).graph.nodes.length,
  inspect: async (folder) => {
    const { graph } = await openOnnx(join(folder, "one.onnx"));
    const runtime = await openRuntime({ device: "cpu" });
    const analysis = await analyse(graph, runtime);
    const total = analysis.cost.total();
    await runtime.close();
    return total;
  },
  "prune tensor": (folder) => prune(folder, { scope: "tensor" }),
  "prune global": (folder) => prune(folder, { scope: "global" }),
  "prune 2:4": (folder) => prune(folder, { pattern: { kind: "n:m", keep: 2, of: 4 } }),
};

async function prune(folder: string, selection: Partial<WeightSelection>): Promise<unknown> {
  const model = await openOnnx(join(folder, "big.onnx"));
  const matrices = model.graph.nodes.flatMap((node) => {
    const parameter = node.inputs[1] ?? "";
    const shape = model.graph.constants.get(parameter)?.shape;
    const [columns, rows] = shape ?? [];
    if (shape === undefined || rows === undefined || columns === undefined) return [];
    return [{ node, parameter, shape, outputs: [1], inputs: [0], rows, columns, groups: 1, data: null }];
  });
  const plan = { pattern: { kind: "element" }, scope: "tensor", profile: "uniform", sparsity: 0.5 } as const;
  const result = await pruneWeights(model.graph, matrices, magnitude(1), { ...plan, ...selection }, noStatistics);
  const path = join(folder, "pruned.onnx");
  await saveOnnx({ ...model, graph: result.graph }, path, { externalData: true });
  await rm(path);
  await rm(`${path}_data`);
  const before = result.layers.reduce((sum, layer) => sum + layer.before, 0);
  return { kept: result.layers.reduce((sum, layer) => sum + layer.after, 0) / before };
}

interface Peak {
  readonly seconds: number;
  readonly rss: number;
  readonly anonymous: number;
}

/** Runs one job in a process of its own and watches its memory. */
async function watched(job: string, folder: string, gigabytes: number): Promise<Peak> {
  const start = performance.now();
  const own = [fileURLToPath(import.meta.url), "job", job, folder, String(gigabytes)];
  const args = ["--import", "tsx", ...(job === COMMAND ? command(folder) : own)];
  const child = spawn(process.execPath, args, { stdio: ["inherit", "ignore", "inherit"] });
  let rss = 0;
  let anonymous = 0;
  const timer = setInterval(async () => {
    const status = await readFile(`/proc/${child.pid}/status`, "utf8").catch(() => "");
    const field = (name: string) => 1024 * Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
    rss = Math.max(rss, field("VmHWM"));
    anonymous = Math.max(anonymous, field("RssAnon"));
  }, 20);
  const code = await new Promise<number | null>((done) => child.on("exit", done));
  clearInterval(timer);
  if (code !== 0) throw new Error(`${job} ended with ${code}`);
  return { seconds: (performance.now() - start) / 1000, rss, anonymous };
}

const [mode, job = "", place = "", size = ""] = process.argv.slice(2);
if (mode === "job") {
  const result = await jobs[job]?.(place, Number(size));
  process.stderr.write(`${job}: ${JSON.stringify(result) ?? "done"}\n`);
} else {
  const gigabytes = Number(mode ?? 3);
  const folder = await mkdtemp(join(tmpdir(), "espalier-big-"));
  try {
    const rows: Record<string, string>[] = [];
    for (const name of [...Object.keys(jobs), COMMAND]) {
      const peak = await watched(name, folder, gigabytes);
      const limit = name.startsWith("prune") ? limits.prune : name === "inspect" ? limits.inspect : undefined;
      const used = limit?.kind === "rss" ? peak.rss : peak.anonymous;
      rows.push({
        job: name,
        seconds: peak.seconds.toFixed(1),
        "RSS MB": (peak.rss / 1e6).toFixed(0),
        "anonymous MB": (peak.anonymous / 1e6).toFixed(0),
        limit: limit === undefined ? "" : used <= limit.bytes ? "met" : "MISSED",
      });
      if (limit !== undefined && used > limit.bytes) process.exitCode = 1;
    }
    const { size: one } = await stat(join(folder, "one.onnx"));
    const { size: data } = await stat(join(folder, "big.onnx_data"));
    process.stdout.write(`one.onnx ${(one / 1e6).toFixed(0)} MB, big.onnx_data ${(data / 1e9).toFixed(2)} GB\n`);
    console.table(rows);
  } finally {
    await rm(folder, { recursive: true });
  }
}
