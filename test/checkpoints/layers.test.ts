import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { branchesOf } from "../../src/coupling/branches.ts";
import { fromTensors } from "../../src/data/from-tensors.ts";
import { memoryFolder } from "../../src/formats/checkpoint/folder.ts";
import { type Checkpoint, openCheckpoint } from "../../src/formats/checkpoint/open.ts";
import type { Graph } from "../../src/graph/graph.ts";
import { analyse } from "../../src/models/analysis.ts";
import { keepBlocks, withTensors } from "../../src/models/checkpoint/change.ts";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { exportCheckpoint } from "../../src/models/export/export-checkpoint.ts";
import { generate } from "../../src/models/generation/generate.ts";
import { phaseClock } from "../../src/pipeline/measuring/phase-clock.ts";
import { type PartOptions, parts } from "../../src/plans/parts.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { scoreBranches, spansOf } from "../../src/search/choose-branches.ts";
import { openRoom } from "../../src/stream/memory/room.ts";
import { checkParts } from "../../src/stream/parts/check-parts.ts";
import { layers } from "../../src/stream/parts/layers.ts";
import { pruneParts, scoreParts } from "../../src/stream/parts/prune-parts.ts";
import { dropBranches } from "../../src/surgery/bypass.ts";
import { fromInts, toFloat32 } from "../../src/tensor/numeric.ts";
import { random } from "../../src/tensor/random.ts";
import { bytesOf } from "../../src/tensor/tensor.ts";
import { openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
const draw = random(7);
const ids = fromInts(
  "i64",
  [4, 8],
  Array.from({ length: 32 }, () => draw.int(28)),
);
const text = fromTensors(new Map([["input_ids", ids]]));

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

const options = () => ({ runtime, calibration: text, batchSize: 2, clock: phaseClock() });
const plan = (settings: Omit<PartOptions, "part">) => parts({ part: "layer", ...settings });
const open = async (name: string): Promise<CheckpointModel> => checkpointModel(await fixtures.open(name));

async function logits(graph: ReturnType<CheckpointModel["graph"]>["graph"]): Promise<Float32Array> {
  const session = await runtime.compile(graph);
  const found = await session.run(new Map([["input_ids", ids]]));
  await session.release();
  return toFloat32(found.get("logits") ?? expect.fail());
}

const difference = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, x, i) => Math.max(most, Math.abs(x - (b[i] ?? Number.NaN))), 0);

const sizeOf = ({ tensors }: Pick<Checkpoint, "tensors">): number =>
  [...tensors.values()].reduce((sum, ref) => sum + bytesOf(ref), 0);

describe.each(["llama", "qwen3", "phi3", "gemma2", "olmo2", "mistral"])("layers of %s", (name) => {
  it("turn what passes them as the whole graph measures it", async () => {
    const model = await open(name);
    const analysis = await analyse(model.graph().graph, runtime);
    const spans = spansOf(branchesOf(analysis.graph, analysis.coupling, analysis.facts), 1);
    const context = { runtime, analysis, calibration: text, batchSize: 2, seed: 0 };
    const expected = (await scoreBranches(context, spans, "influence", false)).map(({ score }) => score);
    const scores = await scoreParts(model, plan({ sparsity: 0.25 }), options());
    const [attention, mlp] = [scores.get("attention"), scores.get("mlp")];
    expect(expected).toHaveLength(2 * (attention?.length ?? 0));
    for (const [i, score] of expected.entries()) expect((i % 2 ? mlp : attention)?.[i >> 1]).toBeCloseTo(score, 5);
  });

  it("that went are those of the graph that is cut in memory, in a smaller checkpoint", async () => {
    const model = await open(name);
    const { checkpoint, kept, law, parts: left } = await pruneParts(model, plan({ sparsity: 0.5 }), options());
    expect(law.passed).toBe(true);
    expect(left.reduce((sum, { gone }) => sum + gone.length, 0)).toBe(model.outline.blocks.length);
    const analysis = await analyse(model.graph().graph, runtime);
    const found = branchesOf(analysis.graph, analysis.coupling, analysis.facts);
    const gone = left.flatMap(({ name: what, gone: own }) => own.map((block) => 2 * block + (what === "mlp" ? 1 : 0)));
    const dropped = gone.map((i) => found[i] ?? expect.fail());
    const cut = dropBranches(
      analysis.graph,
      dropped.map(({ sum, bypass, axis, features }) => ({ sum, bypass, axis, mean: new Float64Array(features) })),
      analysis.facts.types,
    );
    const small = checkpointModel(checkpoint);
    const now = await logits(small.graph().graph);
    expect(difference(await logits(cut), now)).toBeLessThan(1e-4);
    expect(difference(await logits(model.graph().graph), now)).toBeGreaterThan(1e-3);
    expect(sizeOf(checkpoint)).toBeLessThan(sizeOf(model.checkpoint));
    // Other layers would be seen.
    const others = new Map(
      [...kept].map(
        ([what, own]) =>
          [what, model.outline.blocks.map((_, block) => block).filter((block) => !own.includes(block))] as const,
      ),
    );
    const quiet = { runtime, room: openRoom(), seed: 1 };
    await expect(checkParts(model, small, layers, others, quiet)).rejects.toThrow("with the layers that went masked");
  });
});

describe("a checkpoint with blocks that lack an attention or an MLP", () => {
  const shorter = async (criterion: string): Promise<CheckpointModel> =>
    checkpointModel((await pruneParts(await open("llama"), plan({ sparsity: 0.5, criterion }), options())).checkpoint);

  it("says so where espalier reads it, and keeps saying it when it is pruned again", async () => {
    const { checkpoint } = await pruneParts(
      await open("llama"),
      plan({ sparsity: 0.5, scope: "group", criterion: "last" }),
      options(),
    );
    const none = { num_attention_heads: 0, num_key_value_heads: 0, intermediate_size: 0 };
    expect(checkpoint.config["per_layer_config"]).toEqual({ "1": none });
    const model = checkpointModel(checkpoint);
    expect(model.stages.find(({ block }) => block === 1)?.parameters.size).toBe(0);
    const only = keepBlocks(model, [1]);
    expect(only.config["per_layer_config"]).toEqual({ "0": none });
    const name = "model.layers.0.mlp.down_proj.weight";
    const inner = Number(checkpoint.config["intermediate_size"]) - 1;
    const cut = (ref = model.checkpoint.tensors.get(name) ?? expect.fail(), axis = 1) => ({
      ...{ dtype: ref.dtype, shape: ref.shape.map((n, i) => (i === axis ? inner : n)) },
      made: { from: ref, by: async () => new Uint8Array(0) },
    });
    const up = ["gate", "up"].map((part) => `model.layers.0.mlp.${part}_proj.weight`);
    const tensors = new Map([
      [name, cut()],
      ...up.map((each) => [each, cut(model.checkpoint.tensors.get(each), 0)] as const),
    ]);
    const narrower = withTensors(model, tensors);
    expect(narrower.config).toMatchObject({ intermediate_size: inner, per_layer_config: { "1": none } });
  });

  it("becomes ONNX with caches that goes on with a text as the whole graph does, and is smaller", async () => {
    const bytes = async (model: CheckpointModel): Promise<number> => {
      const { models } = await exportCheckpoint(model);
      const graphs = [...models.values()].map(({ graph }) => graph);
      return graphs.reduce((sum, { constants }) => sum + sizeOf({ tensors: constants }), 0);
    };
    const whole = await bytes(await open("llama"));
    for (const criterion of ["influence", "last"]) {
      const model = await shorter(criterion);
      expect(await bytes(model)).toBeLessThan(0.8 * whole);
      const prompts = [Int32Array.of(3, 20, 7), Int32Array.of(5, 1)];
      const said = async (graph: Graph) => (await generate(runtime, graph, prompts, { maxTokens: 8, pad: 0 })).texts;
      const exported = [...(await exportCheckpoint(model)).models.values()][0]?.graph ?? expect.fail();
      const tokens = (await said(exported)).map((each) => [...each.tokens]);
      for (const [i, prompt] of prompts.entries()) {
        let all = [...prompt];
        for (const token of tokens[i] ?? []) {
          const session = await runtime.compile(model.graph().graph);
          const found = await session.run(new Map([["input_ids", fromInts("i64", [1, all.length], all)]]));
          await session.release();
          const last = toFloat32(found.get("logits") ?? expect.fail()).slice(-28);
          expect(token).toBe(last.indexOf(Math.max(...last)));
          all = [...all, token];
        }
      }
    }
  });

  it("is zeros where a loader wants all blocks alike, and computes the same", async () => {
    const model = await open("llama");
    const loaders = ["transformers"] as const;
    const padded = await pruneParts(model, plan({ sparsity: 0.5 }), { ...options(), loaders });
    const ragged = await pruneParts(model, plan({ sparsity: 0.5 }), options());
    expect(ragged.loads.find(({ loader }) => loader === "transformers")?.verdict).toBe("refused");
    expect(ragged.loads.find(({ loader }) => loader === "onnxruntime")?.verdict).toBe("loads");
    expect(padded.loads.find(({ loader }) => loader === "transformers")?.verdict).toBe("loads");
    expect(padded.checkpoint.config).toEqual(model.checkpoint.config);
    expect(padded.advice).toEqual([expect.stringContaining("as large and as slow as before")]);
    const both = [padded, ragged].map(({ checkpoint }) => logits(checkpointModel(checkpoint).graph().graph));
    const [one = new Float32Array(0), two = new Float32Array(0)] = await Promise.all(both);
    expect(difference(one, two)).toBeLessThan(1e-5);
    expect(sizeOf(padded.checkpoint)).toBe(sizeOf(model.checkpoint));
  });
});

describe("layers that cannot go", () => {
  it("of configs that cannot say it, or all of them", async () => {
    for (const name of ["gpt2", "bert", "gpt_neox"]) {
      await expect(pruneParts(await open(name), plan({ sparsity: 0.5 }), options())).rejects.toThrow(
        "--granularity layer: expected blocks whose config can say that they have no attention or no MLP",
      );
    }
    const all = pruneParts(await open("llama"), plan({ sparsity: 1 }), options());
    await expect(all).rejects.toThrow("--sparsity: expected at most 0.5 of the layers, got 1.");
  });

  it("keep the MLP of a mixture, whose attention can go", async () => {
    const scores = await scoreParts(await open("mixtral"), plan({ sparsity: 0.5, criterion: "random" }), options());
    expect([...scores.keys()]).toEqual(["attention"]);
  });

  it("where a whole config says that there are none", async () => {
    const files = fixtures.files("llama", { num_attention_heads: 0 });
    const opened = await openCheckpoint(memoryFolder("llama", files));
    expect(() => checkpointModel(opened)).toThrow("config.json: num_attention_heads: expected at least 1, got 0.");
  });
});
