import { afterAll, describe, expect, it } from "vitest";
import { checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { fromInts, toFloat32 } from "../../tensor/numeric.ts";
import { load } from "../../tensor/tensor.ts";
import { llama } from "../models/llama.ts";
import { asCheckpoint } from "./as-checkpoint.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

const config = { vocabulary: 32, width: 16, layers: 2, heads: 4, kvHeads: 2, inner: 24, time: 10 };

describe("a testbed's decoder", () => {
  it("computes the same from its checkpoint, up to bfloat16", async () => {
    const graph = llama(config);
    // Larger weights, so that norms and heads matter.
    const constants = new Map(graph.constants);
    for (const [name, ref] of graph.constants) {
      if (!/attention|mlp|embed/.test(name) || ref.shape.length < 2) continue;
      const values = toFloat32(await load(ref)).map((x) => 20 * x);
      constants.set(name, { ...ref, resident: new Uint8Array(values.buffer) });
    }
    const own = { ...graph, constants };
    const checkpoint = await asCheckpoint("tiny", own, config);
    const model = checkpointModel(checkpoint);
    expect(Math.max(...[...checkpoint.tensors.values()].map(({ shape }) => shape.length))).toBe(2);
    const tokens = Int32Array.from({ length: 20 }, (_, i) => (i * 7) % 32);
    const run = async (g: typeof graph, name: string, dtype: "i32" | "i64") => {
      const session = await runtime.compile(g);
      const out = await session.run(new Map([[name, fromInts(dtype, [2, 10], tokens)]]));
      await session.release();
      return toFloat32(out.get("logits") ?? expect.fail());
    };
    const expected = await run(own, "tokens", "i32");
    const found = await run(model.graph().graph, "input_ids", "i64");
    const scale = Math.sqrt(expected.reduce((sum, x) => sum + x * x, 0) / expected.length);
    const off = Math.sqrt(expected.reduce((sum, x, i) => sum + (x - (found[i] ?? 0)) ** 2, 0) / expected.length);
    expect(scale).toBeGreaterThan(0.5);
    expect(off / scale).toBeLessThan(0.02);
    // The heads of another block would be seen.
    const tensors = new Map(checkpoint.tensors);
    const [a, b] = ["model.layers.0.self_attn.k_proj.weight", "model.layers.1.self_attn.k_proj.weight"];
    tensors.set(a, checkpoint.tensors.get(b) ?? expect.fail());
    const wrong = await run(checkpointModel({ ...checkpoint, tensors }).graph().graph, "input_ids", "i64");
    const apart = Math.sqrt(expected.reduce((sum, x, i) => sum + (x - (wrong[i] ?? 0)) ** 2, 0) / expected.length);
    expect(apart / scale).toBeGreaterThan(0.03);
  });
});
