/**
 * Whether the built command line keeps to `--memory`:
 * `npm run build && npx tsx bench/memory-limit.ts [SIZE] [METHODS] [WINDOWS] [TIME] [FACTORS]`.
 * Prunes a Llama of random bf16 weights on random tokens with the smallest memory that is accepted, times each factor, and compares the
 * largest anonymous memory that was seen from outside with it. Sizes as in bench/stream.ts. Limit: none is above what it was given.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeNpy } from "../src/data/files/npy.ts";
import { saveCheckpoint } from "../src/formats/checkpoint/save.node.ts";
import type { CheckpointReport } from "../src/stream/report.ts";
import { fromInts } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";
import { llamaCheckpoint } from "../src/testbeds/models/llama-checkpoint.ts";
import { isBuilt, leastMemory, watched } from "../test/stream/watched.ts";
import { llamaOfSize } from "./llama-sizes.ts";

const [size = "4", methods = "wanda,sparsegpt,gblm", windows = "16", time = "256", factors = "1,1.3"] =
  process.argv.slice(2);
if (!isBuilt) throw new Error("expected a build, got none. Run npm run build.");
const sizes = llamaOfSize(size);
const folder = await mkdtemp(join(tmpdir(), "espalier-memory-"));
const mb = (bytes: number): string => `${Math.round(bytes / 1e6)}`;
try {
  await saveCheckpoint(llamaCheckpoint(sizes), join(folder, "llama"));
  const source = random(1);
  const ids = Array.from({ length: Number(windows) * Number(time) }, () => source.int(sizes.vocabulary));
  await writeFile(join(folder, "tokens.npy"), writeNpy(fromInts("i64", [Number(windows), Number(time)], ids)));
  console.log(`| size | windows | criterion | --memory | at once | counted | taken | processor |`);
  for (const method of methods.split(",")) {
    const out = join(folder, method);
    const args = [
      ...["prune", join(folder, "llama"), "-o", out, "--criterion", method, "--sparsity", "0.5", "--json"],
      ...["--calib", join(folder, "tokens.npy"), "--windows", windows, "--threads", "1"],
    ];
    const least = await leastMemory(args);
    for (const factor of factors.split(",")) {
      const limit = Math.ceil((least / 1e6) * Number(factor)) * 1e6;
      const { code, out: answer, err, bytes, seconds } = await watched([...args, "--memory", `${mb(limit)}MB`]);
      if (code !== 0) throw new Error(`expected exit 0, got ${code}: ${err}`);
      const { device, memory }: CheckpointReport = JSON.parse(answer);
      const cells = [size, `${windows} of ${time}`, method, `${mb(limit)} MB`, device.batch, mb(memory?.counted ?? 0)];
      console.log(
        `| ${[...cells, `${mb(bytes)}${bytes > limit ? " BROKEN" : ""}`, `${seconds.cpu.toFixed(1)} s`].join(" | ")} |`,
      );
      if (bytes > limit) process.exitCode = 1;
      await rm(out, { recursive: true });
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
