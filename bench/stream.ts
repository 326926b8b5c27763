/**
 * Time and memory of the built command line on a checkpoint:
 * `npm run build && npx tsx bench/stream.ts [SIZE] [METHODS] [WINDOWS] [TIME] [THREADS] [MEMORY]`.
 * Writes a Llama of random bf16 weights and random tokens into a temporary folder, prunes it by each method, watches anonymous memory and
 * processor time from outside, and compares with the bare matrix products of the forward passes that the method makes: two per block but
 * the last, where pruned inputs are passed on. With MEMORY, such as 2GB, the run is given it as --memory. Limits for 1100: 3 GB, and for Wanda 1.3 times the products.
 * Sizes: 4, 20, 150, 1100, 7000 (million parameters); 1100:2 has the widths of 1100 and two blocks. Methods: wanda,sparsegpt,gblm; wanda/1 is
 * stopped once one block is done, and says what it took until then.
 */
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { writeNpy } from "../src/data/files/npy.ts";
import type { Checkpoint } from "../src/formats/checkpoint/open.ts";
import { saveCheckpoint } from "../src/formats/checkpoint/save.node.ts";
import { int } from "../src/graph/attributes.ts";
import { builder } from "../src/graph/builder.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import type { CheckpointReport } from "../src/stream/report.ts";
import { float32Tensor, fromInts } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";
import { load, type TensorRef } from "../src/tensor/tensor.ts";
import { type LlamaSizes, llamaCheckpoint } from "../src/testbeds/models/llama-checkpoint.ts";
import { isBuilt, watched } from "../test/stream/watched.ts";
import { llamaOfSize } from "./llama-sizes.ts";

const [
  size = "150",
  methods = "wanda,sparsegpt",
  windows = "16",
  time = "512",
  threads = String(cpus().length),
  memory,
] = process.argv.slice(2);
const sizes = llamaOfSize(size);
if (!isBuilt) throw new Error("expected a build, got none. Run npm run build.");
const tokens = Number(windows) * Number(time);

/** Seconds on the clock and of processor time. */
interface Seconds {
  readonly clock: number;
  readonly cpu: number;
}

/** Seconds of the products of one block with all tokens, in batches as the command line runs them: by the fastest of four batches. */
async function productSeconds({ width, heads, kvHeads, inner }: LlamaSizes): Promise<Seconds> {
  const runtime = await openRuntime({ threads: Number(threads), worker: false });
  const kv = (width / heads) * kvHeads;
  const shapes = [
    [width, width],
    [width, kv],
    [width, kv],
    [width, width],
    [width, inner],
    [width, inner],
    [inner, width],
  ] as const;
  const rows = Math.min(tokens, 2048);
  const source = random(0);
  const filled = (shape: readonly [number, number]) => {
    const values = new Float32Array(shape[0] * shape[1]);
    source.fillNormal(values);
    return float32Tensor(shape, values);
  };
  const draft = builder("product", 17);
  const [a, b] = [draft.input("a", "f32", [null, null]), draft.input("b", "f32", [null, null])];
  draft.output(draft.op("Gemm", [a, b], { transB: int(1) }, "y"), "f32");
  const session = await runtime.compile(draft.finish());
  const parts = shapes.map(
    ([from, to]) =>
      new Map([
        ["a", filled([rows, from])],
        ["b", filled([to, from])],
      ]),
  );
  const best = { clock: Number.POSITIVE_INFINITY, cpu: Number.POSITIVE_INFINITY };
  const batches = tokens / rows;
  for (let turn = 0; turn < 4; turn++) {
    const [start, used] = [performance.now(), process.cpuUsage()];
    for (const feeds of parts) await session.run(feeds);
    const { user, system } = process.cpuUsage(used);
    best.clock = Math.min(best.clock, (batches * (performance.now() - start)) / 1000);
    best.cpu = Math.min(best.cpu, (batches * (user + system)) / 1e6);
  }
  await session.release();
  await runtime.close();
  return best;
}

/** The numbers of the first block in every block: nothing that is measured depends on them, and to draw billions takes minutes. */
function alike(checkpoint: Checkpoint): Checkpoint {
  const drawn = new Map<string, Promise<Uint8Array>>();
  const tensors = new Map<string, TensorRef>();
  for (const [name, ref] of checkpoint.tensors) {
    const first = name.replace(/\.layers\.\d+\./, ".layers.0.");
    const { made } = checkpoint.tensors.get(first) ?? ref;
    const by = (): Promise<Uint8Array> => {
      const bytes = drawn.get(first) ?? made?.by() ?? load(ref).then((tensor) => tensor.bytes);
      if (name.includes(".layers.")) drawn.set(first, bytes);
      return bytes;
    };
    tensors.set(name, { ...ref, made: { from: ref, by } });
  }
  return { ...checkpoint, tensors };
}

/** How many blocks a journal of work calls finished. */
function finishedBlocks(journal: string): number {
  return existsSync(journal) ? (readFileSync(journal, "utf8").match(/^\{"stage":".*\.layers\./gm)?.length ?? 0) : 0;
}

const folder = await mkdtemp(join(tmpdir(), "espalier-stream-"));
try {
  await saveCheckpoint(alike(llamaCheckpoint(sizes)), join(folder, "llama"));
  const source = random(1);
  const ids = Array.from({ length: tokens }, () => source.int(sizes.vocabulary));
  await writeFile(join(folder, "tokens.npy"), writeNpy(fromInts("i64", [Number(windows), Number(time)], ids)));
  for (const given of methods.split(",")) {
    const [method = "", blocks] = given.split("/");
    const before = await productSeconds(sizes);
    const out = join(folder, method);
    const {
      code,
      out: answer,
      err,
      seconds,
      bytes,
    } = await watched(
      [
        ...["prune", join(folder, "llama"), "-o", out, "--criterion", method, "--sparsity", "0.5", "--json"],
        ...["--calib", join(folder, "tokens.npy"), "--windows", windows, "--threads", threads],
        ...(memory === undefined ? [] : ["--memory", memory]),
      ],
      blocks === undefined
        ? undefined
        : () => finishedBlocks(join(folder, `.${method}.espalier/journal.jsonl`)) >= Number(blocks),
    );
    if (blocks !== undefined) {
      console.log(
        `${method}, ${size}, ${tokens} tokens, ${threads} threads, stopped after ${blocks} of ${sizes.layers} blocks: ${seconds.clock.toFixed(1)} s on the clock, ` +
          `${seconds.cpu.toFixed(1)} s of the processor, two passes of a block ${(2 * before.cpu).toFixed(1)} s; ${(bytes / 1e9).toFixed(2)} GB anonymous`,
      );
      for (const path of [out, join(folder, `.${method}.espalier`)]) await rm(path, { recursive: true, force: true });
      continue;
    }
    if (code !== 0) throw new Error(`expected exit 0, got ${code}: ${err}`);
    const report: CheckpointReport = JSON.parse(answer);
    const after = await productSeconds(sizes);
    const passes = 2 * sizes.layers - 1;
    const products = (of: keyof Seconds): number => ((before[of] + after[of]) / 2) * passes;
    const beside = (of: keyof Seconds): string =>
      `${seconds[of].toFixed(1)} s, ${(seconds[of] / products(of)).toFixed(2)} of ${products(of).toFixed(1)} s of products`;
    const parts = Object.entries(report.seconds).map(([phase, n]) => `${phase} ${n.toFixed(1)}`);
    console.log(
      `${method}, ${(report.params / 1e6).toFixed(0)} M parameters, ${tokens} tokens, ${threads} threads: on the clock ${beside("clock")}; ` +
        `of the processor ${beside("cpu")}; ${(bytes / 1e9).toFixed(2)} GB anonymous; ${parts.join(", ")}`,
    );
    await rm(out, { recursive: true });
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
