import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Group } from "../../src/coupling/couple.ts";
import { openCheckpointFolder } from "../../src/formats/checkpoint/open.node.ts";
import { saveCheckpoint } from "../../src/formats/checkpoint/save.node.ts";
import { analyse } from "../../src/models/analysis.ts";
import { keepBlocks, withGraph, withTensors } from "../../src/models/checkpoint/change.ts";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { inexpressible } from "../../src/models/checkpoint/expressible.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { cut } from "../../src/surgery/cut.ts";
import { checkLaw } from "../../src/surgery/law.ts";
import { fromInts, toFloat32 } from "../../src/tensor/numeric.ts";
import { load, refOf, type TensorRef } from "../../src/tensor/tensor.ts";
import { inFloat32, openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
const feeds = [new Map([["input_ids", fromInts("i64", [2, 4], [3, 7, 11, 2, 9, 20, 4, 4])]])];

let runtime: Runtime;
let folder = "";
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  folder = mkdtempSync(join(tmpdir(), "espalier-checkpoint-"));
});
afterAll(async () => {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The model's graph without the last `count` units of the groups named, in every set of theirs. */
async function without(model: CheckpointModel, cuts: readonly (readonly [id: RegExp, count: number])[]) {
  const { graph } = model.graph();
  const { coupling, facts } = await analyse(graph, runtime);
  const masks = new Map<Group, Uint8Array>();
  for (const [id, count] of cuts) {
    for (const group of coupling.groups.filter((one) => id.test(one.id) && one.blocked.length === 0)) {
      const mask = new Uint8Array(group.size * group.sets).fill(1);
      for (let set = 1; set <= group.sets; set++) mask.fill(0, set * group.size - count, set * group.size);
      masks.set(group, mask);
    }
  }
  expect(masks.size).toBeGreaterThan(0);
  return cut(graph, coupling, facts, masks);
}

describe("a pruned graph's parameters make a checkpoint", () => {
  it.each<[string, string, [RegExp, number][], Record<string, unknown>]>([
    ["neurons", "llama", [[/gate_proj.weight$/, 5]], { intermediate_size: 19, head_dim: 4 }],
    [
      "key heads with their queries",
      "llama",
      [[/q_proj.weight$/, 1]],
      { num_attention_heads: 2, num_key_value_heads: 1, head_dim: 4 },
    ],
    ["query heads", "qwen2", [[/q_proj.weight#2$/, 1]], { num_attention_heads: 2, num_key_value_heads: 2 }],
    [
      "heads beside biases",
      "llama-tied-biased",
      [[/q_proj.weight$/, 1]],
      { num_attention_heads: 3, num_key_value_heads: 3, head_dim: 6 },
    ],
    [
      "neurons of one block",
      "llama",
      [[/layers.1.*gate_proj.weight$/, 5]],
      { per_layer_config: { "0": { intermediate_size: 24 }, "1": { intermediate_size: 19 } } },
    ],
    ["neurons between biases", "gpt2", [[/c_fc/, 10]], { n_inner: 54 }],
  ])("%s of %s", async (_, name, cuts, fields) => {
    const model = checkpointModel(await fixtures.open(name));
    const pruned = await without(model, cuts);
    const small = checkpointModel(withGraph(model, pruned));
    expect(small.checkpoint.config).toMatchObject(fields);
    const law = await checkLaw(runtime, pruned, small.graph().graph, feeds);
    expect(law.relative).toBeLessThan(1e-5);
    expect((await checkLaw(runtime, model.graph().graph, pruned, feeds)).relative).toBeGreaterThan(1e-3);
  });

  it("hidden features of llama, with gains and ε of the norms over fewer of them", async () => {
    const model = checkpointModel(await inFloat32(await fixtures.open("llama")));
    const pruned = await without(model, [[/o_proj.weight$/, 4]]);
    const small = checkpointModel(withGraph(model, pruned));
    expect(small.checkpoint.config).toMatchObject({ hidden_size: 12, rms_norm_eps: (1e-5 * 16) / 12 });
    expect((await checkLaw(runtime, pruned, small.graph().graph, feeds)).relative).toBeLessThan(1e-5);
  });

  it("gains of bfloat16 take in what a graph multiplies them with, rounded", async () => {
    const model = checkpointModel(await fixtures.open("llama"));
    const pruned = await without(model, [[/o_proj.weight$/, 4]]);
    const small = withGraph(model, pruned);
    const gain = async (tensors: ReadonlyMap<string, TensorRef>): Promise<number> =>
      toFloat32(await load(tensors.get("model.norm.weight") ?? expect.fail()))[0] ?? 0;
    expect(await gain(small.tensors)).toBeCloseTo((await gain(model.checkpoint.tensors)) * Math.sqrt(16 / 12), 2);
    const law = await checkLaw(runtime, pruned, checkpointModel(small).graph().graph, feeds);
    expect(law.relative).toBeGreaterThan(1e-5);
    expect(law.relative).toBeLessThan(0.05);
  });

  it("which groups these are is known before anything is cut", async () => {
    const reasons = async (name: string): Promise<readonly string[]> => {
      const model = checkpointModel(await fixtures.open(name));
      const { coupling } = await analyse(model.graph().graph, runtime);
      return [...inexpressible(model, coupling).keys()].map(({ id }) => id.replace(/^.*\.\d+\./, ""));
    };
    expect(await reasons("llama")).toEqual(Array(2).fill("self_attn.v_proj.weight"));
    expect(new Set(await reasons("bert"))).toEqual(
      new Set(["attention.self.query.weight", "attention.self.query.weight#2", "attention.self.value.weight"]),
    );
  });

  it("sizes that no config states are refused", async () => {
    const model = checkpointModel(await fixtures.open("llama"));
    const values = await without(model, [[/v_proj.weight$/, 1]]);
    expect(() => withGraph(model, values)).toThrow(
      "expected sizes that config.json can state, but model.layers.0.self_attn.v_proj.weight would have 6 on axis 0, not 8",
    );
    const scaled = checkpointModel(await fixtures.open("gemma"));
    const narrow = await without(scaled, [[/o_proj.weight$/, 4]]);
    expect(() => withGraph(scaled, narrow)).toThrow(
      "hidden_size has to stay, since embeddings are multiplied by its root",
    );
    const old = checkpointModel(await fixtures.open("gpt2"));
    const heads = await without(old, [[/c_attn.weight$/, 1]]);
    expect(() => withGraph(old, heads)).toThrow("expected sizes that config.json can state");
  });

  it("a tied head that a file holds as well is left out where the table changed", async () => {
    const checkpoint = await fixtures.open("llama-tied-biased");
    const table = checkpoint.tensors.get("model.embed_tokens.weight") ?? expect.fail();
    const twice = { ...checkpoint, tensors: new Map([...checkpoint.tensors, ["lm_head.weight", table]]) };
    const model = checkpointModel(twice);
    expect(withTensors(model, new Map()).tensors.has("lm_head.weight")).toBe(true);
    const changed = new Map([["model.embed_tokens.weight", table]]);
    expect(withTensors(model, changed).tensors.has("lm_head.weight")).toBe(false);
  });
});

describe("blocks", () => {
  it("are numbered anew, with what the config says of each", async () => {
    const lists = { layer_types: ["full_attention", "sliding_attention"], sliding_window: 2, use_sliding_window: true };
    const model = checkpointModel(await fixtures.open("qwen2", lists));
    const small = checkpointModel(keepBlocks(model, [1]));
    expect(small.checkpoint.config).toMatchObject({ num_hidden_layers: 1, layer_types: ["sliding_attention"] });
    const moved = small.checkpoint.tensors.get("model.layers.0.mlp.up_proj.weight");
    expect(moved).toBe(model.checkpoint.tensors.get("model.layers.1.mlp.up_proj.weight"));
    expect(small.stages.map(({ name }) => name)).toEqual(["embedding", "model.layers.0", "head"]);
    expect([...small.checkpoint.tensors.keys()].some((name) => name.includes("layers.1"))).toBe(false);
  });

  it("have to be some of the model's, in order", async () => {
    const model = checkpointModel(await fixtures.open("llama"));
    for (const kept of [[], [1, 0], [2], [0, 0]])
      expect(() => keepBlocks(model, kept)).toThrow("blocks 0 to 1 in their order");
  });
});

describe("a folder that was written", () => {
  it("is read as what was written, in shards, with what lay beside", async () => {
    const model = checkpointModel(await fixtures.open("llama"));
    const files = new Map([
      ["tokenizer.json", { name: "t", size: 2, read: async () => new TextEncoder().encode("{}") }],
    ]);
    const path = join(folder, "sharded");
    const texts = new Map([["README.md", "# Card\n"]]);
    await saveCheckpoint({ ...model.checkpoint, files }, path, { shardBytes: 3000, texts });
    expect(readdirSync(path).filter((name) => name.endsWith(".safetensors")).length).toBeGreaterThan(2);
    expect(readFileSync(join(path, "README.md"), "utf8")).toBe("# Card\n");
    const read = await openCheckpointFolder(path);
    expect([...read.files.keys()]).toEqual(["README.md", "tokenizer.json"]);
    expect(read.config).toEqual(model.checkpoint.config);
    expect(read.metadata.get("format")).toBe("pt");
    expect([...read.tensors.keys()].sort()).toEqual([...model.checkpoint.tensors.keys()].sort());
    for (const [name, ref] of read.tensors) {
      expect(await load(ref)).toEqual(await load(model.checkpoint.tensors.get(name) ?? expect.fail()));
    }
    expect(readdirSync(folder)).toEqual(["sharded"]);
  });

  it("appears whole or not at all, and replaces nothing", async () => {
    const { checkpoint } = checkpointModel(await fixtures.open("llama"));
    const path = join(folder, "broken");
    const failing = {
      dtype: "f32",
      shape: [1],
      made: { from: refOf(fromInts("i64", [], [0])), by: () => Promise.reject(new Error("lost")) },
    } as const;
    const broken = { ...checkpoint, tensors: new Map([...checkpoint.tensors, ["bad", failing]]) };
    await expect(saveCheckpoint(broken, path)).rejects.toThrow('got "lost"');
    expect(readdirSync(folder)).not.toContain("broken");
    await saveCheckpoint(checkpoint, path);
    await expect(saveCheckpoint(checkpoint, path)).rejects.toThrow("nothing is overwritten");
  });
});
