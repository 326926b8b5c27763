/**
 * Memory of the built command line on a large file: `npm run build && npx tsx bench/memory.ts [MEGABYTES]`.
 * Writes one ONNX file of 500 MB into a temporary folder, inspects it, and reports the largest resident memory.
 * Limit: 200 MB.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { modelOf } from "../src/formats/onnx/encode.ts";
import { saveOnnx } from "../src/formats/onnx/save.node.ts";
import { builder } from "../src/graph/builder.ts";
import { refOf, type TensorRef, tensor } from "../src/tensor/tensor.ts";

const limit = 200e6;
const width = 2048;
const entry = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

/** A weight that is made while it is written. */
function weight(layer: number): TensorRef {
  const by = async (): Promise<Uint8Array> => {
    const values = Float32Array.from({ length: width * width }, (_, i) => Math.sin(i + layer) / width);
    return new Uint8Array(values.buffer);
  };
  return { dtype: "f32", shape: [width, width], made: { from: refOf(tensor("f32", [0])), by } };
}

async function write(path: string, bytes: number): Promise<void> {
  const draft = builder("large");
  let x = draft.input("x", "f32", ["batch", width]);
  for (let layer = 0; layer * 4 * width * width < bytes; layer++) {
    x = draft.op("Relu", [draft.op("MatMul", [x, draft.constant(weight(layer), `w${layer}`)])]);
  }
  draft.output(x, "f32", ["batch", width]);
  await saveOnnx(modelOf(draft.finish()), path);
}

/** Largest resident bytes of a command, which it reports itself when it ends. */
function peakOf(args: readonly string[]): Promise<number> {
  // Not resourceUsage().maxRSS, which begins at the size of the process that started this one.
  const read = "/VmHWM:\\s*(\\d+)/.exec(fs.readFileSync('/proc/self/status','utf8'))[1]";
  const hook = `import fs from 'node:fs';process.on('exit',()=>process.stderr.write('peak '+${read}+'\\n'))`;
  const child = spawn(
    process.execPath,
    ["--import", `data:text/javascript,${encodeURIComponent(hook)}`, entry, ...args],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let errors = "";
  let answer = 0;
  child.stdout.on("data", (bytes: Uint8Array) => {
    answer += bytes.length;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  return new Promise((resolve, reject) => {
    child.on("close", (code) => {
      const peak = /peak (\d+)/.exec(errors)?.[1];
      if (code === 0 && answer > 0 && peak !== undefined) resolve(Number(peak) * 1024);
      else reject(new Error(`expected exit 0, got ${code}: ${errors}`));
    });
  });
}

if (!existsSync(entry)) throw new Error("expected a build, got none. Run npm run build.");
const megabytes = Number(process.argv[2] ?? 500);
const folder = await mkdtemp(join(tmpdir(), "espalier-memory-"));
try {
  const path = join(folder, "large.onnx");
  await write(path, megabytes * 1e6);
  const size = (await stat(path)).size;
  const none = await peakOf(["--version"]);
  const peak = await peakOf(["inspect", path, "--json"]);
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
  console.log(`${mb(size)} file: inspect took at most ${mb(peak)} (${mb(none)} to start; limit ${mb(limit)})`);
  if (peak > limit) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
