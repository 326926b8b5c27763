import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Checkpoint } from "../../src/formats/checkpoint/open.ts";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { keepEntries, keepExperts } from "../../src/models/checkpoint/entries.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { fromInts, toFloat32 } from "../../src/tensor/numeric.ts";
import { openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

async function logits(checkpoint: Checkpoint, ids: readonly number[]): Promise<Float32Array> {
  const session = await runtime.compile(checkpointModel(checkpoint).graph().graph);
  const out = await session.run(new Map([["input_ids", fromInts("i64", [1, ids.length], ids)]]));
  await session.release();
  return toFloat32(out.get("logits") ?? expect.fail());
}

const difference = (a: Float32Array, b: Float32Array): number => {
  expect(a.length).toBe(b.length);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - (b[i] ?? Number.NaN))), 0);
};

describe("tokens", () => {
  it.each(["llama", "llama-tied-biased", "gpt2"])("%s: those that stay have the logits that they had", async (name) => {
    const checkpoint = await fixtures.open(name);
    const kept = [20, 3, 7, 11, 2];
    const small = keepEntries(checkpointModel(checkpoint), "vocab_size", kept);
    expect(small.config["vocab_size"]).toBe(5);
    const whole = await logits(checkpoint, [3, 20, 7]);
    const width = whole.length / 3;
    const expected = [0, 1, 2].flatMap((t) => kept.map((token) => whole[t * width + token] ?? 0));
    expect(difference(Float32Array.from(expected), await logits(small, [1, 0, 2]))).toBeLessThan(1e-6);
  });

  it("that are not there, or there twice, are refused", async () => {
    const model = checkpointModel(await fixtures.open("llama"));
    for (const kept of [[], [28], [-1], [1, 1], [0.5]]) {
      expect(() => keepEntries(model, "vocab_size", kept)).toThrow("expected distinct numbers from 0 to 27");
    }
    expect(() => keepEntries(model, "num_experts", [0])).toThrow('got "num_experts"');
    expect(() => keepEntries(model, "num_attention_heads", [0])).toThrow("expected one position for each entry");
  });
});

describe("experts", () => {
  it.each(["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v2-lite", "deepseek_v3"])(
    "%s: their order does not matter",
    async (name) => {
      const checkpoint = await fixtures.open(name, name === "deepseek_v3" ? { n_group: 1, topk_group: 1 } : {});
      const model = checkpointModel(checkpoint);
      const turned = new Map<number, readonly number[]>();
      for (const [block, { experts }] of model.outline.blocks.entries()) {
        if (experts === undefined) continue;
        const count = Number(checkpoint.config[experts.field]);
        turned.set(
          block,
          Array.from({ length: count }, (_, i) => (i + 1) % count),
        );
      }
      expect(turned.size).toBeGreaterThan(0);
      const other = keepExperts(model, turned);
      expect(other.config).toEqual(checkpoint.config);
      const ids = [3, 7, 11, 2, 9, 20];
      expect(difference(await logits(checkpoint, ids), await logits(other, ids))).toBeLessThan(1e-5);
      // A router that was not turned with them would be seen.
      const wrong = { ...other, tensors: new Map(other.tensors) };
      for (const [key, ref] of checkpoint.tensors) if (/gate\.(weight|e_score)/.test(key)) wrong.tensors.set(key, ref);
      expect(difference(await logits(checkpoint, ids), await logits(wrong, ids))).toBeGreaterThan(1e-3);
    },
  );

  it("that go take their rows of the router with them", async () => {
    const checkpoint = await fixtures.open("qwen3_moe");
    const model = checkpointModel(checkpoint);
    const even = keepExperts(
      model,
      new Map([
        [0, [5, 1, 2]],
        [1, [0, 1, 2]],
      ]),
    );
    expect(even.config["num_experts"]).toBe(3);
    const moved = even.tensors.get("model.layers.0.mlp.experts.0.up_proj.weight");
    expect(moved).toBe(checkpoint.tensors.get("model.layers.0.mlp.experts.5.up_proj.weight"));
    expect((await logits(even, [3, 7])).every(Number.isFinite)).toBe(true);
    const uneven = keepExperts(model, new Map([[0, [5, 1]]]));
    expect(uneven.config).toMatchObject({
      num_experts: 6,
      per_layer_config: { "0": { num_experts: 2 }, "1": { num_experts: 6 } },
    });
    expect((await logits(uneven, [3, 7])).every(Number.isFinite)).toBe(true);
    // Blocks that are alike again have nothing of their own.
    const alike = keepExperts(checkpointModel(uneven), new Map([[1, [3, 0]]]));
    expect(alike.config).toMatchObject({ num_experts: 2 });
    expect(alike.config).not.toHaveProperty("per_layer_config");
    expect((await logits(alike, [3, 7])).every(Number.isFinite)).toBe(true);
    expect(() =>
      checkpointModel(
        keepExperts(
          model,
          new Map([
            [0, [5]],
            [1, [2]],
          ]),
        ),
      ),
    ).toThrow("expected 2 experts to choose from");
  });

  it("are asked for in blocks that have some", async () => {
    const model = checkpointModel(await fixtures.open("qwen2_moe"));
    expect(() => keepExperts(model, new Map([[0, [0, 1]]]))).toThrow("expected a block with experts, got block 0.");
  });
});
