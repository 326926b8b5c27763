/**
 * The sweep of SparseGPT on one layer beside its published procedure in PyTorch (bench/obs.py), in turns on the same weights and
 * inputs: Gram matrix, factor, sweep; then the error that both leave on these inputs. Needs python3-torch; without it only
 * espalier's times are printed.
 * Usage: npx tsx bench/obs.ts [--rows 4096] [--columns 4096] [--tokens 16384] [--window 2048] [--batch 4] [--sparsity 0.5] [--rounds 3]
 *   [--threads 2] [--device cpu] [--python python3]
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { builder } from "../src/graph/builder.ts";
import { openRuntime } from "../src/index.node.ts";
import { openProducts } from "../src/runtime/open-products.ts";
import { sweep, sweepFactor } from "../src/sparsify/sweep/sweep.ts";
import { tapGram } from "../src/stats/taps/gram.ts";
import { type Floats, part } from "../src/tensor/linalg/products.ts";
import { float32Tensor } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "4096" },
    columns: { type: "string", default: "4096" },
    tokens: { type: "string", default: "16384" },
    window: { type: "string", default: "2048" },
    batch: { type: "string", default: "4" },
    sparsity: { type: "string", default: "0.5" },
    rounds: { type: "string", default: "3" },
    threads: { type: "string", default: "2" },
    device: { type: "string", default: "cpu" },
    python: { type: "string", default: "python3" },
  },
});
const size = (name: "rows" | "columns" | "tokens" | "window" | "batch" | "sparsity" | "rounds" | "threads") =>
  Number(options[name]);
const [rows, columns, tokens, sparsity] = [size("rows"), size("columns"), size("tokens"), size("sparsity")] as const;
if (options.device !== "cpu" && options.device !== "wasm") throw new Error("expected device cpu or wasm");

/** Inputs [tokens, columns] whose features differ in size, and of which each follows the one before it. */
function inputs(): Float32Array {
  const x = new Float32Array(tokens * columns);
  random(0, "x").fillNormal(x);
  const scale = new Float32Array(columns);
  random(0, "scale").fillNormal(scale);
  for (let t = 0; t < tokens; t++) {
    for (let j = 0, before = 0; j < columns; j++) {
      before = 0.8 * before + 0.6 * (x[t * columns + j] ?? 0);
      x[t * columns + j] = before * Math.exp(0.5 * (scale[j] ?? 0));
    }
  }
  return x;
}

const folder = await mkdtemp(join(tmpdir(), "obs-"));
const x = inputs();
const w = new Float32Array(rows * columns);
random(0, "w").fillNormal(w);
const runtime = await openRuntime({ threads: size("threads"), worker: false, device: options.device });
const products = openProducts(runtime);

type Times = readonly [gram: number, factor: number, sweep: number];

/** Milliseconds of the steps; everything that a layer takes is inside, sessions and memory too. */
async function ours(): Promise<{ readonly times: Times; readonly weights: Floats }> {
  const given = w.slice();
  const start = performance.now();
  const draft = builder("gram", 17);
  const tap = tapGram(draft, 17, draft.input("x", "f32", [null, columns]), columns, 1);
  for (const name of tap.outputs) draft.output(name, "f32");
  const session = await runtime.compile(draft.finish());
  const batch = size("window") * size("batch");
  for (let from = 0; from < tokens; from += batch) {
    const count = Math.min(batch, tokens - from);
    const part = x.subarray(from * columns, (from + count) * columns);
    tap.add(await session.run(new Map([["x", float32Tensor([count, columns], part)]])));
  }
  await session.release();
  const gram = tap.result();
  const measured = performance.now();
  const factor = await sweepFactor(gram, { products, overwrite: true });
  const factored = performance.now();
  const { weights } = await sweep(given, factor, { kind: "sparsity", sparsity }, { products, overwrite: true });
  const end = performance.now();
  return { times: [measured - start, factored - measured, end - factored], weights };
}

/** PyTorch behind a pipe; null where it is not installed. */
async function openTorch(): Promise<(() => Promise<Times>) | null> {
  for (const [name, values] of [["x", x] as const, ["w", w] as const]) {
    await writeFile(join(folder, `${name}.f32`), new Uint8Array(values.buffer));
  }
  const sizes = [options.threads, folder, rows, columns, tokens, sparsity].map(String);
  const child = spawn(options.python, [join(import.meta.dirname, "obs.py"), ...sizes], {
    env: { ...process.env, OPENBLAS_NUM_THREADS: options.threads, OMP_NUM_THREADS: options.threads },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const ended = new Promise<null>((done) => {
    child.once("exit", () => done(null));
    child.once("error", () => done(null));
  });
  const next = () => Promise.race([new Promise<string>((done) => lines.once("line", done)), ended]);
  process.once("exit", () => child.kill());
  if ((await next()) === null) return null;
  return async () => {
    child.stdin.write(`${options.window}\n`);
    const [gram = 0, factor = 0, swept = 0]: number[] = JSON.parse((await next()) ?? "[]");
    return [gram * 1000, factor * 1000, swept * 1000];
  };
}

/** ‖X (W − W')ᵀ‖ / ‖X Wᵀ‖ on the first tokens. */
async function error(weights: ArrayLike<number>): Promise<number> {
  const count = Math.min(tokens, 512);
  const norm = async (matrix: Float32Array): Promise<number> => {
    const out = new Float32Array(count * rows);
    await products.addRowProducts(part(out, rows), part(x, columns), part(matrix, columns), count, rows, columns, 1);
    return Math.sqrt(out.reduce((sum, v) => sum + v * v, 0));
  };
  return (await norm(w.map((v, i) => v - (weights[i] ?? 0)))) / (await norm(w));
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const columnOf = (runs: readonly Times[]): readonly number[] => [
  ...[0, 1, 2].map((i) => median(runs.map((run) => run[i] ?? 0))),
  median(runs.map((run) => run[0] + run[1] + run[2])),
];

const torch = await openTorch();
const [mine, theirs]: [Times[], Times[]] = [[], []];
let weights: Floats = w;
for (let round = 0; round < size("rounds"); round++) {
  const run = await ours();
  mine.push(run.times);
  weights = run.weights;
  // Threads of either side spin for a while when they are done, and would take the other's processors.
  await setTimeout(200);
  if (torch !== null) theirs.push(await torch());
  await setTimeout(200);
}
const [a, b] = [columnOf(mine), columnOf(theirs)];
console.log("| step | espalier, s | PyTorch, s | ratio |\n| --- | --- | --- | --- |");
for (const [i, name] of ["Gram matrix", "factor", "choice and sweep", "all"].entries()) {
  const [own = 0, other = Number.NaN] = [a[i], b[i]];
  const cells = [(own / 1000).toFixed(2), (other / 1000).toFixed(2), (own / other).toFixed(2)].map((cell) =>
    cell.replace("NaN", "-"),
  );
  console.log(`| ${[name, ...cells].join(" | ")} |`);
}
const zeros = (values: ArrayLike<number>): number => Array.from(values, (v) => +(v === 0)).reduce((n, z) => n + z, 0);
const report = async (name: string, values: Floats): Promise<void> => {
  const removed = (100 * zeros(values)) / values.length;
  console.log(`${name}: ${removed.toFixed(2)} % removed, relative error ${(await error(values)).toFixed(5)}`);
};
await report("espalier", weights);
if (torch !== null) {
  const bytes = await readFile(join(folder, "torch.f32"));
  await report("PyTorch", new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4));
}
console.log(`peak resident memory with all inputs: ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`);
await products.release();
await runtime.close();
await rm(folder, { recursive: true });
process.exit();
