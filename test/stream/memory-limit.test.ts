import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeNpy } from "../../src/data/files/npy.ts";
import { saveCheckpoint } from "../../src/formats/checkpoint/save.node.ts";
import { fromInts } from "../../src/tensor/numeric.ts";
import { random } from "../../src/tensor/random.ts";
import { llamaCheckpoint } from "../../src/testbeds/models/llama-checkpoint.ts";
import { isBuilt, leastMemory, watched } from "./watched.ts";

const sizes = { vocabulary: 2000, width: 256, layers: 2, heads: 8, kvHeads: 4, inner: 704 };

/** Why nothing is watched here; null where it is. */
const because =
  process.platform !== "linux" ? "anonymous memory is read from /proc" : isBuilt ? null : "npm run build comes first";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "espalier-limit-"));
  await saveCheckpoint(llamaCheckpoint(sizes), join(folder, "llama"));
  const source = random(1);
  const ids = Array.from({ length: 2 * 1024 }, () => source.int(sizes.vocabulary));
  await writeFile(join(folder, "tokens.npy"), writeNpy(fromInts("i64", [2, 1024], ids)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const pruning = (criterion: string): readonly string[] => [
  ...["prune", join(folder, "llama"), "-o", join(folder, criterion), "--criterion", criterion, "--sparsity", "0.5"],
  ...["--calib", join(folder, "tokens.npy"), "--threads", "1", "--json"],
];

describe.skipIf(because !== null)(
  `the least --memory that is accepted${because === null ? "" : ` (${because})`}`,
  () => {
    it.each(["wanda", "sparsegpt", "gblm"])(
      "is not exceeded by the process: %s",
      { timeout: 300_000 },
      async (criterion) => {
        const args = pruning(criterion);
        const least = await leastMemory(args);
        const { code, bytes } = await watched([...args, "--memory", `${least / 1e6}MB`]);
        expect(code).toBe(0);
        expect(bytes).toBeGreaterThan(50e6);
        expect(bytes).toBeLessThanOrEqual(least);
        await rm(join(folder, criterion), { recursive: true });
      },
    );

    it("planted fault: without it more is taken, and seen", { timeout: 300_000 }, async () => {
      const args = pruning("wanda");
      const { code, bytes } = await watched(args);
      expect(code).toBe(0);
      expect(bytes).toBeGreaterThan(await leastMemory(pruning("wanda")));
    });
  },
);
