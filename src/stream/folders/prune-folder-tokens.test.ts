import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromTexts } from "../../data/text/documents.ts";
import { openDocuments } from "../../data/text/open-text.node.ts";
import { tokenWindows } from "../../data/text/token-windows.ts";
import { openCheckpointFolder } from "../../formats/checkpoint/open.node.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { fitTokens } from "../../models/tokens/fit-tokens.ts";
import { checkpointPlanOf } from "../../plans/checkpoint-plan.ts";
import type { Settings } from "../../plans/settings.ts";
import type { TokenPlan } from "../../plans/tokens.ts";
import { checkpointSteps } from "../../recipes/checkpoint-recipe.node.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { tokenizerAt } from "../../tokenizers/tokenizer-files.node.ts";
import { checkTokens } from "../tokens/check-tokens.ts";
import { pruneFolderTokens } from "./prune-folder-tokens.node.ts";

let runtime: Runtime;
let folder: string;
let model: CheckpointModel;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  folder = await mkdtemp(join(tmpdir(), "espalier-tokens-"));
  model = checkpointModel(await openCheckpointFolder("examples/tinylm"));
});
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
});

const story = "Once upon a time there was a king in the north of England, and he said: come and play with the dog.";
const other = "The queen went to London in 1835.";

function planOf(settings: Settings = {}): TokenPlan {
  const plan = checkpointPlanOf({ granularity: "vocabulary", ...settings }, 0);
  return plan.kind === "tokens" ? plan : expect.fail();
}

const options = () => ({
  ...{ runtime, batchSize: 2 },
  texts: {
    corpus: fromTexts([story, other], "two texts"),
    evaluation: async (tokenizer: Awaited<ReturnType<typeof tokenizerAt>>) => ({
      data: await tokenWindows(fromTexts([story]), {
        tokenizer,
        window: 32,
        inputs: [{ name: "input_ids", dtype: "i64", dims: ["b", "t"] }],
      }),
      bytes: story.length,
    }),
  },
});

describe("a folder with fewer tokens", () => {
  it("holds what the corpus uses, and tells of bytes what tokens cannot", async () => {
    const out = join(folder, "exact");
    const report = await pruneFolderTokens(model, out, planOf({ roundTo: 32 }), options());
    const [part = expect.fail()] = report.parts;
    expect(part).toMatchObject({ name: "vocab_size", what: "tokens", before: 1024 });
    expect(part.after % 32).toBe(0);
    expect(part.gone).toHaveLength(1024 - part.after);
    expect(report.law).toMatchObject({ relative: 0, passed: true });
    expect(report.params).toBe(report.before.params - (1024 - part.after) * 256);
    expect(report.metric).toMatchObject({ name: "bits per byte", n: story.length });
    // Over fewer tokens nothing becomes less likely: all that the text has stayed.
    expect(report.metric?.after).toBeLessThanOrEqual(report.metric?.before ?? 0);
    expect(report.advice.join(" ")).toMatch(/All \d+ tokens of the corpus are the same .* Perplexity, of tokens/);
    const found = report.loads.find(({ loader }) => loader === "llama.cpp");
    expect(found?.findings.map(({ expected }) => expected)).toContain("the whole vocabulary of a byte-level tokenizer");
    const [old, now] = [await tokenizerAt("examples/tinylm"), await tokenizerAt(out)];
    const kept = (await openCheckpointFolder(out)).kept?.entries?.get("vocab_size") ?? [];
    expect([...now.encode(other)].map((id) => kept[id])).toEqual([...old.encode(other)]);
    await expect(pruneFolderTokens(model, out, planOf(), options())).rejects.toThrow(/exact/);
  });

  it("holds fewer where fewer are asked for, the most frequent ones", async () => {
    const { evaluation: _, ...texts } = options().texts;
    const run = (settings: Settings) => pruneFolderTokens(model, null, planOf(settings), { ...options(), texts });
    const half = await run({ sparsity: 0.74 });
    expect(half.parts[0]?.after).toBe(Math.ceil(1024 * 0.26));
    expect(half.advice.join(" ")).toMatch(/its text is \d+ tokens now \(\+.* and every document reads as before/);
    const params = await run({ keepParams: 0.97 });
    expect(params.params / params.before.params).toBeLessThanOrEqual(0.97);
    expect((params.params + 256) / params.before.params).toBeGreaterThan(0.97);
    const bytes = await run({ maxBytes: 9_600_000 });
    expect(bytes.bytes).toBeLessThanOrEqual(9_600_000);
    await expect(run({ keepParams: 0.5 })).rejects.toThrow("--keep-params: expected a target that is met by removing");
    await expect(run({ sparsity: 0.9 })).rejects.toThrow("expected at least 257 tokens, got 103");
  });

  it("is told apart from one of other tokens by the law", async () => {
    const { checkpoint, fitted } = await fitTokens(model, fromTexts([story]));
    const small = checkpointModel(checkpoint);
    const { kept } = fitted.chosen;
    await expect(checkTokens(model, small, kept, runtime)).resolves.toMatchObject({ relative: 0 });
    const wrong = kept.map((id, i) => (i === 40 ? id + 1 : id));
    await expect(checkTokens(model, small, wrong, runtime)).rejects.toThrow("of the tokens that stay");
  });

  it.each<[Settings, string]>([
    [{ criterion: "l2" }, "--criterion l2: expected an option for --granularity vocabulary"],
    [{ recover: "lsq" }, "--recover: expected an option for --granularity vocabulary"],
    [{ roundTo: "auto" }, "--round-to auto: expected an option"],
    [{ scope: "global" }, "--scope: expected an option"],
    [{ sparsity: 0.5, maxBytes: 7 }, "expected at most one of --sparsity, --keep-params and --max-bytes, got 2"],
  ])("is not made by %j", (settings, message) => {
    expect(() => planOf(settings)).toThrow(message);
  });

  it("is made last, with a corpus, and where it loads", async () => {
    const recipe = (...steps: { granularity: string; sparsity?: number }[]) => ({ model: "m", out: "o", steps });
    const tokens = { granularity: "vocabulary" };
    expect(checkpointSteps(recipe({ granularity: "weight", sparsity: 0.5 }, tokens))).toHaveLength(2);
    for (const steps of [
      [tokens, { granularity: "weight", sparsity: 0.5 }],
      [{ granularity: "channel", sparsity: 0.5 }, tokens],
    ]) {
      expect(() => checkpointSteps(recipe(...steps))).toThrow("expected the vocabulary to go last");
    }
    const without = pruneFolderTokens(model, null, planOf(), { ...options(), texts: null });
    await expect(without).rejects.toThrow("--granularity vocabulary: expected a corpus, got none.");
    const refused = pruneFolderTokens(model, null, planOf(), { ...options(), loaders: ["llama.cpp"] });
    await expect(refused).rejects.toThrow(
      "--target llama.cpp: expected the whole vocabulary of a byte-level tokenizer",
    );
  });
});

it("a corpus of dialogues is prompts and whole texts, as the model gets them", async () => {
  const file = join(folder, "pairs.jsonl");
  await writeFile(file, '{"prompt":"a b","response":" c"}\n{"prompt":"","response":"d"}\n');
  const text = { prompt: "prompt", tokenizer: await tokenizerAt("examples/tinylm") };
  const found: string[] = [];
  for await (const one of (await openDocuments([file], { text })).read()) found.push(one);
  expect(found).toEqual(["a b", "a b c", "d"]);
  await expect(openDocuments([join(folder, "x.npy")], {})).rejects.toThrow("expected text, got other data");
});
