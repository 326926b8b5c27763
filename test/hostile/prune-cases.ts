import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EspalierError, load, methods, openRuntime, prune, randomInputs } from "../../src/index.node.ts";
import { flipped, lyingFiles, truncated } from "./cases.ts";

/** One line of JSON for each file: what came of pruning it. Runs in a process of its own, which a crash may end. */
const [kind = "lying", count = "100"] = process.argv.slice(2);
const cases = kind === "lying" ? lyingFiles() : kind === "truncated" ? truncated() : flipped(Number(count));
const runtime = await openRuntime({ threads: 1, worker: false });
const root = mkdtempSync(join(tmpdir(), "espalier-hostile-"));

for (const [i, { name, write, expect }] of cases.entries()) {
  process.stdout.write(`${JSON.stringify({ start: name })}\n`);
  const folder = join(root, `${i}`);
  mkdirSync(folder);
  const path = write(folder);
  const before = digest(path);
  const out = join(folder, "out.onnx");
  const started = performance.now();
  const outcome = await attempt(path, out);
  process.stdout.write(
    `${JSON.stringify({
      name,
      expect,
      ...outcome,
      seconds: (performance.now() - started) / 1000,
      written: existsSync(out),
      leftovers: readdirSync(folder).filter((entry) => entry.includes(".tmp")),
      untouched: digest(path) === before,
      maxRssMb: process.resourceUsage().maxRSS / 1024,
    })}\n`,
  );
}
await runtime.close();
rmSync(root, { recursive: true, force: true });

async function attempt(path: string, out: string): Promise<{ ok: boolean; code: string; message: string }> {
  try {
    const model = await load(path);
    const small = await prune(model, methods.structured({ sparsity: 0.5 }), { runtime, measure: false });
    await small.model.save(out);
    const again = await load(out);
    const session = await runtime.compile(again.onnx.graph);
    for await (const { inputs } of randomInputs(again.onnx.graph.inputs, { count: 2 }).batches(2)) {
      await session.run(inputs);
      break;
    }
    await session.release();
    return { ok: true, code: "", message: "" };
  } catch (error) {
    if (error instanceof EspalierError) return { ok: false, code: error.code, message: error.message };
    return { ok: false, code: "foreign", message: error instanceof Error ? (error.stack ?? "") : String(error) };
  }
}

function digest(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}
