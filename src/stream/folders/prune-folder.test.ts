import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromTensors } from "../../data/from-tensors.ts";
import { openCheckpointFolder } from "../../formats/checkpoint/open.node.ts";
import { saveCheckpoint } from "../../formats/checkpoint/save.node.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import type { WeightPlan } from "../../plans/plan.ts";
import { planOf } from "../../plans/settings.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { fromInts, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { load } from "../../tensor/tensor.ts";
import { llamaCheckpoint } from "../../testbeds/models/llama-checkpoint.ts";
import { type FolderPruneOptions, pruneFolder } from "./prune-folder.node.ts";

const sizes = { vocabulary: 40, width: 16, layers: 3, heads: 2, kvHeads: 1, inner: 24 };

let folder = "";
let runtime: Runtime;
let model: CheckpointModel;
let input: ReadonlyMap<string, string>;

const planned = (sparsity = 0.5): WeightPlan => {
  const plan = planOf({ granularity: "weight", criterion: "wanda", scope: "row", sparsity }, 0);
  return plan.kind === "weights" ? plan : expect.fail();
};

const source = random(3);
const tokens = Array.from({ length: 4 * 12 }, () => source.int(sizes.vocabulary));
const calibration = fromTensors(new Map([["input_ids", fromInts("i64", [4, 12], tokens)]]));

const made = { recipe: (batch: number) => `model: llama\nbatch: ${batch}\n` };

const run = (out: string, more: Partial<FolderPruneOptions> = {}, plan = planned()) =>
  pruneFolder(model, join(folder, out), plan, { runtime, calibration, batchSize: 2, ...made, ...more });

/** Everything in a folder, as text that differs where a byte does. */
async function contents(path: string): Promise<ReadonlyMap<string, string>> {
  const files = await readdir(path);
  return new Map(
    await Promise.all(
      files.map(async (file) => [file, (await readFile(join(path, file))).toString("base64")] as const),
    ),
  );
}

/** Stops a run before it prunes a stage. */
function stoppedBefore(stage: number): Partial<FolderPruneOptions> {
  const abort = new AbortController();
  return {
    signal: abort.signal,
    progress: ({ phase, done }) => {
      if (phase === "prune" && done === stage) abort.abort(new Error("stopped"));
    },
  };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "espalier-prune-folder-"));
  runtime = await openRuntime({ threads: 1, worker: false });
  const texts = new Map([["tokenizer.json", "{}"]]);
  await saveCheckpoint(llamaCheckpoint(sizes), join(folder, "llama"), { texts });
  model = checkpointModel(await openCheckpointFolder(join(folder, "llama")));
  input = await contents(join(folder, "llama"));
});
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
});

describe("a checkpoint that is pruned into a folder", () => {
  it("is whole, loads where the original did, and leaves it as it was", async () => {
    const report = await run("whole");
    expect(await readdir(join(folder, "whole"))).toEqual([
      "README.md",
      "config.json",
      "model.safetensors",
      "tokenizer.json",
    ]);
    const card = await readFile(join(folder, "whole", "README.md"), "utf8");
    expect(card).toMatch(/^---\nbase_model: llama\n/);
    expect(card).toMatch(/\d+\.\d % of the weights of \d+ matrices are zero\./);
    expect(card).toMatch(/## Recipe\n\n```yaml\n#[^\n]*\nmodel: llama\nbatch: 2\n```\n/);
    expect(card).toMatch(/## Settings\n\n```yaml\n[^`]*criterion: wanda\n[^`]*sparsity: 0.5\n/);
    // What a run that was resumed would measure otherwise would make other bytes.
    expect(card).not.toMatch(/second|resumed/);
    expect(report.loads.map(({ loader, verdict }) => [loader, verdict])).toContainEqual(["transformers", "loads"]);
    expect((await readdir(folder)).sort()).toEqual(["llama", "whole"]);
    const pruned = checkpointModel(await openCheckpointFolder(join(folder, "whole")));
    expect(pruned.checkpoint.config).toEqual(model.checkpoint.config);
    let zeros = 0;
    for (const [name, ref] of pruned.checkpoint.tensors) {
      expect({ name, dtype: ref.dtype, shape: ref.shape }).toEqual({
        name,
        dtype: "bf16",
        shape: model.checkpoint.tensors.get(name)?.shape,
      });
      for (const value of toFloat32(await load(ref))) if (value === 0) zeros++;
    }
    expect(report.params - report.nonzero).toBe(zeros);
    expect(report.pruned.after).toBe(report.pruned.before / 2);
    expect(report.layers).toHaveLength(21);
    expect(await contents(join(folder, "llama"))).toEqual(input);
  });

  it("has the same bytes when it was stopped before any stage and went on", async () => {
    for (const stage of [0, 1, 2]) {
      const out = `stopped-${stage}`;
      await expect(run(out, stoppedBefore(stage))).rejects.toThrow("stopped");
      await expect(run(out)).rejects.toThrow(/expected no unfinished work, got that of an earlier run\. Give --resume/);
      const report = await run(out, { resume: true });
      expect(report.resumed).toBe(stage);
      expect(await contents(join(folder, out))).toEqual(await contents(join(folder, "whole")));
    }
    expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("keeps the windows that run at once where it goes on with a memory that has room for more", async () => {
    await expect(run("fewer", stoppedBefore(1))).rejects.toThrow("stopped");
    const more = { resume: true, batchSize: 5 };
    await expect(run("fewer", more)).rejects.toThrow("expected the work of the same request, got another's");
    const report = await run("fewer", { ...more, memory: 4e9 });
    expect([report.device.batch, report.resumed]).toEqual([2, 1]);
    const [fewer, whole] = await Promise.all(["fewer", "whole"].map((out) => contents(join(folder, out))));
    expect(fewer?.get("model.safetensors")).toEqual(whole?.get("model.safetensors"));
  });

  it("has the same bytes when it was killed in the middle of what it wrote", async () => {
    await expect(run("killed", stoppedBefore(2))).rejects.toThrow("stopped");
    const work = join(folder, ".killed.espalier");
    const journal = join(work, "journal.jsonl");
    // The last stage was being noted, another one and the whole were being written.
    await truncate(journal, (await readFile(journal)).length - 9);
    await writeFile(join(work, ".stage-00003.safetensors.1-1.tmp"), "half");
    await mkdir(join(work, ".checkpoint.1-2.tmp"));
    await writeFile(join(work, ".checkpoint.1-2.tmp", "model.safetensors"), "half");
    const report = await run("killed", { resume: true });
    expect(report.resumed).toBe(1);
    expect(await contents(join(folder, "killed"))).toEqual(await contents(join(folder, "whole")));
  });

  it("goes on where the whole was written and not yet in its place", async () => {
    await expect(run("late", stoppedBefore(3))).rejects.toThrow("stopped");
    const report = await run("late", { resume: true });
    expect(report.resumed).toBe(3);
    expect(await contents(join(folder, "late"))).toEqual(await contents(join(folder, "whole")));
  });

  it("is done where it was killed while the work was being cleared away", async () => {
    await expect(run("cleared", stoppedBefore(3))).rejects.toThrow("stopped");
    const work = join(folder, ".cleared.espalier");
    const journal = `${await readFile(join(work, "journal.jsonl"), "utf8")}{"complete":true}\n`;
    await run("cleared", { resume: true });
    await mkdir(work);
    await writeFile(join(work, "journal.jsonl"), journal);
    const report = await run("cleared", { resume: true });
    expect(report.layers).toHaveLength(21);
    expect(await contents(join(folder, "cleared"))).toEqual(await contents(join(folder, "whole")));
    expect(await readdir(folder)).not.toContain(".cleared.espalier");
    // What is left without a journal is no work.
    await mkdir(work);
    await expect(run("cleared", { resume: true })).rejects.toThrow("expected no folder or an empty one");
    await rm(work, { recursive: true });
  });

  it("is not the same when a finished stage is another's", async () => {
    await expect(run("mixed", stoppedBefore(1))).rejects.toThrow("stopped");
    await expect(run("other", stoppedBefore(1), planned(0.25))).rejects.toThrow("stopped");
    const file = "stage-00001.safetensors";
    await writeFile(join(folder, ".mixed.espalier", file), await readFile(join(folder, ".other.espalier", file)));
    await run("mixed", { resume: true });
    expect(await contents(join(folder, "mixed"))).not.toEqual(await contents(join(folder, "whole")));
    await rm(join(folder, ".other.espalier"), { recursive: true });
  });
});

describe("refuses", () => {
  it("a folder that is not empty", async () => {
    await expect(run("llama")).rejects.toThrow(/expected no folder or an empty one, got one with config\.json/);
  });

  it("to go on with the work of another request", async () => {
    await expect(run("changed", stoppedBefore(1))).rejects.toThrow("stopped");
    for (const [more, plan] of [
      [{ resume: true }, planned(0.25)],
      [{ resume: true, batchSize: 1 }, planned()],
      [{ resume: true, inputs: "dense" }, planned()],
    ] as const) {
      await expect(run("changed", more, plan)).rejects.toThrow("expected the work of the same request, got another's");
    }
  });

  it("a place where nothing can be written, and says that finished work is kept", async () => {
    await writeFile(join(folder, "file"), "");
    const { code, message } = await run("file/out").then(
      () => expect.fail(),
      (cause: unknown) => (cause instanceof Error && "code" in cause ? cause : expect.fail()),
    );
    expect(code).toBe("file");
    expect(message).toContain("expected");
  });
});
