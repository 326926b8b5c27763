import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCheckpointFolder } from "../../formats/checkpoint/open.node.ts";
import { saveCheckpoint } from "../../formats/checkpoint/save.node.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { parts } from "../../plans/parts.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { madeUpText } from "../../testbeds/made-up-text.ts";
import { llamaCheckpoint } from "../../testbeds/models/llama-checkpoint.ts";
import { type FolderPartOptions, pruneFolderParts } from "./prune-folder-parts.node.ts";

const sizes = { vocabulary: 40, width: 16, layers: 4, heads: 2, kvHeads: 1, inner: 24 };
const text = madeUpText(6, 12, sizes.vocabulary, 5);
const plan = parts({ part: "block", sparsity: 0.5 });

let folder = "";
let runtime: Runtime;
let model: CheckpointModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "espalier-parts-"));
  runtime = await openRuntime({ threads: 1, worker: false });
  await saveCheckpoint(llamaCheckpoint(sizes), join(folder, "llama"));
  model = checkpointModel(await openCheckpointFolder(join(folder, "llama")));
});
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
});

const prune = (out: string, changes: Partial<FolderPartOptions> = {}) =>
  pruneFolderParts(model, join(folder, out), plan, { runtime, calibration: text, batchSize: 2, ...changes });

async function contents(name: string): Promise<ReadonlyMap<string, string>> {
  const path = join(folder, name);
  const read = async (file: string) => [file, (await readFile(join(path, file))).toString("base64")] as const;
  return new Map(await Promise.all((await readdir(path)).map(read)));
}

/** Stops a run where a phase begins. */
const stoppedAt = (phase: string): Partial<FolderPartOptions> => ({
  progress: (step) => {
    if (step.phase === phase) throw new Error("killed");
  },
});

describe("blocks that go into a folder", () => {
  it.each(["measure", "check", "evaluate", "write"])(
    "are the same when a run was stopped at %s and went on",
    async (phase) => {
      const whole = await prune(`whole-${phase}`, { evaluation: text });
      const out = `stopped-${phase}`;
      await expect(prune(out, { evaluation: text, ...stoppedAt(phase) })).rejects.toThrow("killed");
      expect(await readdir(folder)).not.toContain(out);
      await expect(prune(out, { evaluation: text })).rejects.toThrow("expected no unfinished work");
      const measured: string[] = [];
      const again = await prune(out, {
        evaluation: text,
        resume: true,
        progress: (step) => void measured.push(step.phase),
      });
      expect(measured.includes("measure")).toBe(phase === "measure");
      expect({ parts: again.parts, metric: again.metric }).toEqual({ parts: whole.parts, metric: whole.metric });
      expect(await contents(out)).toEqual(await contents(`whole-${phase}`));
      expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
    },
  );

  it("are those that the noted scores name, which planted ones show", async () => {
    await expect(prune("planted", stoppedAt("check"))).rejects.toThrow("killed");
    const journal = join(folder, ".planted.espalier", "journal.jsonl");
    const [header = ""] = (await readFile(journal, "utf8")).split("\n");
    const scores = JSON.stringify({ scores: [["num_hidden_layers", [4, 1, 3, 2]]] });
    await writeFile(journal, `${header}\n${scores}\n`);
    const { parts: left } = await prune("planted", { resume: true });
    expect(left).toMatchObject([{ gone: [1, 3] }]);
  });

  it("are not those of another text", async () => {
    await expect(prune("other", stoppedAt("check"))).rejects.toThrow("killed");
    const calibration = madeUpText(6, 12, sizes.vocabulary, 6);
    await expect(prune("other", { resume: true, calibration })).rejects.toThrow(
      "expected the work of the same request",
    );
  });

  it("stay within a memory that is given", async () => {
    const { memory, parts: left } = await prune("within", { memory: 2e9 });
    expect(memory).toMatchObject({ limit: 2e9 });
    expect(memory?.counted).toBeLessThan(2e9);
    const whole = await prune("beyond");
    expect(left).toEqual(whole.parts);
    await expect(prune("small", { memory: 1e6 })).rejects.toThrow("--memory: expected at least");
  });
});
