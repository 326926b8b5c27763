import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { fromTensors } from "../../data/from-tensors.ts";
import { openCheckpointFolder } from "../../formats/checkpoint/open.node.ts";
import { saveCheckpoint } from "../../formats/checkpoint/save.node.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { checkpointPlanOf } from "../../plans/checkpoint-plan.ts";
import type { Settings } from "../../plans/settings.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { fromInts, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { load, sizeOf } from "../../tensor/tensor.ts";
import { madeUpText } from "../../testbeds/made-up-text.ts";
import { llamaCheckpoint } from "../../testbeds/models/llama-checkpoint.ts";
import { type FolderStep, type FolderStepsOptions, pruneFolderSteps } from "./prune-folder-steps.node.ts";

const sizes = { vocabulary: 40, width: 16, layers: 3, heads: 2, kvHeads: 1, inner: 24 };

let folder = "";
let runtime: Runtime;
let model: CheckpointModel;

const source = random(3);
const tokens = Array.from({ length: 4 * 12 }, () => source.int(sizes.vocabulary));
const calibration = fromTensors(new Map([["input_ids", fromInts("i64", [4, 12], tokens)]]));

const text = madeUpText(5, 10, sizes.vocabulary, 5);

const stepOf = (settings: Settings, ignore: readonly string[] = []): FolderStep => ({
  plan: checkpointPlanOf(settings, 0),
  ignore,
});

const attention = stepOf({ granularity: "2:4" }, ["*.mlp.*"]);
const neurons = stepOf({ sparsity: 0.5 }, ["*.self_attn.*"]);
const all = stepOf({ sparsity: 0.25, criterion: "l2", scope: "tensor" });
const heads = stepOf({ granularity: "channel", sparsity: 0.4 }, ["*.embed_tokens.*", "*.self_attn.*", "lm_head.*"]);
const blocks = stepOf({ granularity: "block", sparsity: 0.3, criterion: "last" });
const first = stepOf({ granularity: "block", sparsity: 0.4, criterion: "influence" }, ["model.layers.1.*"]);
const more = stepOf({ granularity: "channel", sparsity: 0.3 });

const run = (
  out: string | null,
  steps: readonly FolderStep[],
  changes: Partial<FolderStepsOptions> = {},
  from: CheckpointModel = model,
) =>
  pruneFolderSteps(from, out === null ? null : join(folder, out), steps, {
    ...{ runtime, calibration, batchSize: 2, measure: false, recipe: () => "model: llama\n" },
    ...changes,
  });

const at = async (name: string) => checkpointModel(await openCheckpointFolder(join(folder, name)));

/** Every file of a folder as text that differs where a byte does. */
async function contents(name: string): Promise<ReadonlyMap<string, string>> {
  const path = join(folder, name);
  const files = await readdir(path);
  const read = async (file: string) => [file, (await readFile(join(path, file))).toString("base64")] as const;
  return new Map(await Promise.all(files.map(read)));
}

async function tensors(one: CheckpointModel): Promise<ReadonlyMap<string, string>> {
  const found = [...one.checkpoint.tensors].map(
    async ([name, ref]) => [name, `${ref.shape}: ${Buffer.from((await load(ref)).bytes).toString("base64")}`] as const,
  );
  return new Map(await Promise.all(found));
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "espalier-steps-"));
  runtime = await openRuntime({ threads: 1, worker: false });
  await saveCheckpoint(llamaCheckpoint(sizes), join(folder, "llama"));
  model = await at("llama");
});
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
});

describe("a checkpoint that is pruned in steps", () => {
  it.each([
    ["patterns here and single weights there", [attention, neurons]],
    ["single weights, then more of the same", [neurons, all]],
    ["weights, then units", [attention, heads]],
    ["units twice, then weights", [heads, more, all]],
    ["weights, fewer blocks twice, then more weights", [attention, first, blocks, all]],
    ["fewer blocks, then units", [first, heads]],
  ])("is what it is one step after the other: %s", async (what, steps) => {
    const out = what.replaceAll(/\W/g, "-");
    const { kind, report } = await run(out, steps);
    const whole = [...model.checkpoint.tensors.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    expect(kind).toBe(steps.every(({ plan }) => plan.kind !== "units") ? "stages" : "units");
    let current = model;
    for (const [i, step] of steps.entries()) {
      const name = `${out}-alone-${i}`;
      await run(name, [step], {}, current);
      current = await at(name);
    }
    const result = await at(out);
    expect(await tensors(result)).toEqual(await tensors(current));
    expect(result.checkpoint.config).toEqual(current.checkpoint.config);
    expect(await tensors(result)).not.toEqual(await tensors(await at(`${out}-alone-0`)));
    // What is told is told of the first and the last.
    expect(report.model).toBe("llama");
    const values = await Promise.all(
      [...result.checkpoint.tensors.values()].map(async (ref) => toFloat32(await load(ref))),
    );
    const nonzero = values.reduce((sum, each) => sum + each.reduce((n, x) => n + (x === 0 ? 0 : 1), 0), 0);
    // Angles of the graph count as parameters of it.
    const apart = kind === "units" ? report.before.params - whole : 0;
    expect(kind === "units" ? report.after.nonzero : report.nonzero).toBe(nonzero + apart);
    const kept = result.checkpoint.kept;
    const isSmaller = steps.some(({ plan }) => plan.kind !== "weights");
    expect(kept?.of).toBe(isSmaller ? "llama" : undefined);
    if (kind === "stages" && isSmaller) {
      expect(report.parts).toMatchObject([{ what: "blocks", before: 3, after: 1 }]);
      expect(report.params).toBeLessThan(report.before.params);
      expect(report.layers.every(({ name }) => result.parameters.has(name))).toBe(true);
    }
    const card = await readFile(join(folder, out, "README.md"), "utf8");
    expect(card).toMatch(/base_model: llama\n/);
    expect(card).toMatch(/```yaml\nsteps:\n {2}- criterion: /);
    expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("is compared with the original, however many steps there were", async () => {
    const { report } = await run("judged", [attention, neurons], { evaluation: text, memory: 2e9 });
    expect("memory" in report && report.memory).toMatchObject({ limit: 2e9 });
    const alone = await run(null, [attention], { evaluation: text });
    expect(report.metric?.before).toBe(alone.report.metric?.before);
    const direct = await run(null, [neurons], { evaluation: text }, await at("judged"));
    expect(report.metric?.after).toBeCloseTo(direct.report.metric?.before ?? Number.NaN, 9);
    const mixed = await run(null, [heads, attention], { evaluation: text });
    expect(mixed.report.metric ?? mixed.report).not.toBeNull();
    if (mixed.kind !== "units") expect.fail();
    expect(mixed.report.after.macs).toBeLessThan(mixed.report.before.macs);
    expect(mixed.report.layers.map(({ kind }) => kind)).toEqual(expect.arrayContaining(["units", "weights"]));
    expect(mixed.report.fidelity?.relativeError).toBeGreaterThan(0);
  });

  it("is the same when it was stopped anywhere and went on", async () => {
    const steps = [heads, attention, neurons];
    const seen: string[] = [];
    await run("whole", steps, { progress: ({ phase, done }) => void seen.push(`${phase} ${done} ${seen.length}`) });
    const whole = await contents("whole");
    expect(seen.length).toBeGreaterThan(12);
    for (const moment of [1, Math.floor(seen.length / 2), seen.length - 1]) {
      const abort = new AbortController();
      let count = 0;
      const progress = (): void => {
        if (count++ === moment) abort.abort(new Error("stopped"));
      };
      const out = `stopped-${moment}`;
      const stopped = await run(out, steps, { progress, signal: abort.signal }).then(
        () => false,
        () => true,
      );
      if (stopped) {
        await expect(run(out, steps)).rejects.toThrow("expected no unfinished work");
        await expect(run(out, [heads, neurons], { resume: true })).rejects.toThrow("got another's");
        await run(out, steps, { resume: true });
      }
      expect(await contents(out)).toEqual(whole);
    }
    expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("is refused to go on with where a finished step is another's", async () => {
    const stop = new AbortController();
    const progress = ({ phase }: { readonly phase: string }): void => {
      if (phase === "prune") stop.abort(new Error("stopped"));
    };
    const stopped = run("planted", [more, attention], { progress, signal: stop.signal });
    await expect(stopped).rejects.toThrow("stopped");
    const place = join(folder, ".planted.espalier", "step-0");
    await run("other", [heads]);
    for (const file of ["model.safetensors", "config.json", "kept-indices.json"])
      await writeFile(join(place, file), await readFile(join(folder, "other", file)));
    await expect(run("planted", [more, attention], { resume: true })).rejects.toThrow("got another's");
  });

  it("leaves nothing in a dry run", async () => {
    const before = await readdir(folder);
    // A place of its own, since other tests have theirs in the usual one.
    const temporary = await mkdtemp(join(tmpdir(), "espalier-dry-"));
    vi.stubEnv("TMPDIR", temporary);
    const { report } = await run(null, [heads, attention]).finally(() => vi.unstubAllEnvs());
    expect(report.seed).toBe(0);
    expect(await readdir(folder)).toEqual(before);
    expect(await readdir(temporary)).toEqual([]);
    await rm(temporary, { recursive: true });
  });
});
