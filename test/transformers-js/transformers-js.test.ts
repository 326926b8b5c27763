import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  type CheckpointModel,
  exportFolder,
  generate,
  load,
  loadCheckpoint,
  type Runtime,
  tokenizerAt,
} from "../../src/index.node.ts";
import { dropBlockBranches } from "../../src/models/checkpoint/branches.ts";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { bundlePage } from "../browser/bundle.ts";
import { hasChromium, inChromium } from "../browser/in-chromium.ts";
import { hasStories, storiesFolder } from "../checkpoints/stories.ts";
import { lively, prunedFixture } from "./pruned.ts";

const folder = mkdtempSync(join(tmpdir(), "espalier-export-"));
const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(async () => {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});

const prompts = ["ab", "cy", "hgf"];
const script = fileURLToPath(new URL("./generate.mjs", import.meta.url));
const page = fileURLToPath(new URL("./page", import.meta.url));
const pageShape = z.union([
  z.object({ failure: z.string() }),
  z.object({
    version: z.string(),
    texts: z.array(z.object({ name: z.string(), dtype: z.string(), text: z.string() })),
  }),
]);
const answerShape = z.object({ alone: z.array(z.string()), together: z.array(z.string()), version: z.string() });

/** What Transformers.js makes of texts in a process of its own, one by one or all at once. */
async function theirs(
  path: string,
  prompts: readonly string[],
  tokens: number,
  dtype = "",
): Promise<readonly string[]> {
  const args = [script, path, JSON.stringify(prompts), String(tokens), dtype];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const { alone, together, version } = answerShape.parse(JSON.parse(stdout));
  expect(version).toMatch(/^4\./);
  expect(together).toEqual(alone);
  return alone;
}

/** What espalier makes of them: with a checkpoint, or with a model of an exported folder. */
async function ours(
  path: string,
  prompts: readonly string[],
  maxTokens: number,
  model: CheckpointModel | string,
  on: Runtime = runtime,
): Promise<readonly string[]> {
  const tokenizer = await tokenizerAt(path);
  const graph =
    typeof model === "string" ? (await load(join(path, "onnx", model))).onnx.graph : model.graph("cached").graph;
  const ids = prompts.map((prompt) => tokenizer.encode(prompt, { special: true }));
  const { end, pad } = tokenizer.special;
  const { texts } = await generate(on, graph, ids, { maxTokens, end, pad: pad ?? 0 });
  return texts.map(({ tokens }, i) => tokenizer.decode(Int32Array.of(...(ids[i] ?? []), ...tokens)));
}

describe("an exported folder", () => {
  it("holds models, config and tokenizer, and weights beside the models where they are wanted there", async () => {
    const model = await prunedFixture("llama", runtime);
    const path = join(folder, "files");
    const files = await exportFolder(model, path, { forms: ["q8", "fp32"], externalData: true });
    expect(files.map(({ file }) => file)).toEqual([
      "config.json",
      "generation_config.json",
      ...["onnx/model.onnx", "onnx/model.onnx_data"],
      ...["onnx/model_quantized.onnx", "onnx/model_quantized.onnx_data"],
      ...["tokenizer.json", "tokenizer_config.json"],
    ]);
    const read = (file: string): unknown => JSON.parse(readFileSync(join(path, file), "utf8"));
    expect(read("config.json")).toMatchObject({
      model_type: "llama",
      intermediate_size: 23,
      "transformers.js_config": {
        dtype: "q8",
        use_external_data_format: { "model.onnx": 1, "model_quantized.onnx": 1 },
      },
    });
    expect(read("generation_config.json")).toMatchObject({ bos_token_id: 0, eos_token_id: 1 });
    expect(read("tokenizer_config.json")).toMatchObject({ bos_token: "<s>", eos_token: "</s>", pad_token: "</s>" });
    const { inputs } = (await load(join(path, "onnx/model.onnx"))).onnx.graph;
    expect(inputs.find(({ name }) => name === "past_key_values.1.value")?.dims).toEqual([
      "batch_size",
      1,
      "past_sequence_length",
      4,
    ]);
    await expect(exportFolder(model, path)).rejects.toThrow("nothing is overwritten");
    expect(readdirSync(folder)).toEqual(["files"]);
  });
});

describe("Transformers.js", () => {
  it.each(["llama", "qwen3", "gpt2"])("goes on with a text as espalier does: a pruned %s", async (name) => {
    const model = await prunedFixture(name, runtime);
    const path = join(folder, name);
    await exportFolder(model, path, { forms: ["fp32", "fp16", "q8"] });
    const expected = await ours(path, prompts, 14, model);
    // A model that says the same whatever it read would agree with many others.
    expect(new Set(expected.map((text, i) => text.slice(prompts[i]?.length)).join("")).size).toBeGreaterThan(3);
    expect(await theirs(path, prompts, 14)).toEqual(expected);
    // The planted fault: units that should be gone are still there.
    expect(await ours(path, prompts, 14, checkpointModel(await lively(name)))).not.toEqual(expected);
    for (const [dtype, file] of [
      ["fp16", "model_fp16.onnx"],
      ["q8", "model_quantized.onnx"],
    ] as const) {
      expect(await theirs(path, ["hgf"], 14, dtype)).toEqual(await ours(path, ["hgf"], 14, file));
    }
  });

  it("goes on with a text by a model whose blocks differ in heads and neurons", async () => {
    const model = await prunedFixture("llama", runtime, "model.layers.0.");
    expect(model.checkpoint.config["per_layer_config"]).toEqual({
      0: { intermediate_size: 23, num_attention_heads: 1, num_key_value_heads: 1 },
      1: { intermediate_size: 24, num_attention_heads: 4, num_key_value_heads: 2 },
    });
    const path = join(folder, "uneven");
    await exportFolder(model, path);
    expect(await theirs(path, prompts, 14)).toEqual(await ours(path, prompts, 14, model));
  });

  // In a batch Transformers.js goes on behind the end of a text, so these are layers without which no text ends.
  it.each([
    ["attention", 0],
    ["mlp", 1],
  ])("goes on with a text by a model of which a block has no %s", async (what, block) => {
    const model = checkpointModel(await lively("llama"));
    const branch = model.stages[1 + block]?.branches.find((each) => each.what === what) ?? expect.fail();
    const small = checkpointModel(dropBlockBranches(model, new Map([[block, [branch]]])));
    const path = join(folder, `without-${what}`);
    await exportFolder(small, path);
    expect(await theirs(path, prompts, 14)).toEqual(await ours(path, prompts, 14, small));
    expect(await ours(path, prompts, 14, model)).not.toEqual(await ours(path, prompts, 14, small));
  });

  it.skipIf(!hasChromium)(
    "goes on as espalier does in Chromium, whole and in 8 bits (needs Debian's chromium)",
    async () => {
      const model = await prunedFixture("llama", runtime);
      const path = join(folder, "page");
      await exportFolder(model, path, { forms: ["fp32", "q8"] });
      const files = new Map((await bundlePage(page)).files);
      for (const file of readdirSync(path, { recursive: true, withFileTypes: true })) {
        const full = join(file.parentPath, file.name);
        if (file.isFile()) files.set(`/models/llama/${relative(path, full)}`, new Uint8Array(readFileSync(full)));
      }
      const forms = ["fp32", "q8"] as const;
      const task = { models: forms.map((dtype) => ({ name: "llama", dtype })), prompts, tokens: 14 };
      files.set("/task.json", JSON.stringify(task));
      const { answer, complaints, requested } = await inChromium(files);
      const said = pageShape.parse(answer);
      if ("failure" in said) throw new Error([said.failure, ...complaints].join("\n"));
      expect(said.version).toMatch(/^4\./);
      expect(requested).toContain("/models/llama/onnx/model_quantized.onnx");
      const wasm = await openRuntime({ device: "wasm", threads: 1, worker: false });
      try {
        for (const [dtype, file] of [
          ["fp32", "model.onnx"],
          ["q8", "model_quantized.onnx"],
        ] as const) {
          const got = said.texts.filter((one) => one.dtype === dtype).map(({ text }) => text);
          expect(got, dtype).toEqual(await ours(path, prompts, 14, file, wasm));
        }
        // What comes is that of the checkpoint, natively too.
        const got = said.texts.filter(({ dtype }) => dtype === "fp32").map(({ text }) => text);
        expect(got).toEqual(await ours(path, prompts, 14, model));
      } finally {
        await wasm.close();
      }
    },
    240_000,
  );

  it.skipIf(!hasStories)("tells the same story (needs the data folder)", async () => {
    const path = join(folder, "stories");
    const model = await loadCheckpoint(storiesFolder);
    await exportFolder(model, path, { forms: ["fp32", "q8"] });
    const begun = ["Once upon a time"];
    const story = await ours(path, begun, 60, model);
    expect(story[0]).toMatch(/^Once upon a time, there was a little girl/);
    expect(await theirs(path, begun, 60)).toEqual(story);
    expect((await theirs(path, begun, 12, "q8"))[0]).toMatch(/^Once upon a time, there was/);
  });
});
