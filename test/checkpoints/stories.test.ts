import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCheckpointFolder } from "../../src/formats/checkpoint/open.node.ts";
import type { Graph } from "../../src/graph/graph.ts";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { fromInts, toFloat32 } from "../../src/tensor/numeric.ts";
import { hasStories, passages, storiesFolder, storyTokens } from "./stories.ts";

describe.skipIf(!hasStories)("a real Llama of 260,032 parameters", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ threads: 1, worker: false });
  });
  afterAll(() => runtime.close());

  it("tokens of a story are the known ones", () => {
    const known = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426];
    expect(storyTokens()("Once upon a time, there was a little girl named Lily.")).toEqual(known);
  });

  it.each([
    ["tinystories-sample.txt", 1.2664, 1804],
    ["stories260K-samples.txt", 1.297, 100_005],
  ] as const)("loses on %s what it is known to: %f over %i tokens", async (file, loss, tokens) => {
    const model = checkpointModel(await openCheckpointFolder(storiesFolder));
    const found = await lossOf(model.graph().graph, runtime, passages(file).map(storyTokens()));
    expect(found.tokens).toBe(tokens);
    expect(found.loss).toBeCloseTo(loss, 4);
  });

  it("loses more when two of its parameters change places", async () => {
    const checkpoint = await openCheckpointFolder(storiesFolder);
    const tensors = new Map(checkpoint.tensors);
    const [up, gate] = ["model.layers.2.mlp.up_proj.weight", "model.layers.2.mlp.gate_proj.weight"];
    tensors.set(up, checkpoint.tensors.get(gate) ?? expect.fail());
    tensors.set(gate, checkpoint.tensors.get(up) ?? expect.fail());
    const { graph } = checkpointModel({ ...checkpoint, tensors }).graph();
    const { loss } = await lossOf(graph, runtime, passages("tinystories-sample.txt").map(storyTokens()));
    expect(loss).toBeGreaterThan(1.3);
  });
});

/** Mean negative log-likelihood of the next token, each passage alone, in nats. */
async function lossOf(graph: Graph, runtime: Runtime, texts: readonly (readonly number[])[]) {
  const session = await runtime.compile(graph);
  let total = 0;
  let tokens = 0;
  for (const text of texts) {
    const window = text.slice(0, 512);
    const out = await session.run(new Map([["input_ids", fromInts("i64", [1, window.length], window)]]));
    const logits = toFloat32(out.get("logits") ?? expect.fail());
    const width = logits.length / window.length;
    for (const [i, next] of window.slice(1).entries()) {
      const row = logits.subarray(i * width, (i + 1) * width);
      const sum = row.reduce((all, x) => all + Math.exp(x), 0);
      total += Math.log(sum) - (row[next] ?? 0);
      tokens++;
    }
  }
  await session.release();
  return { loss: total / tokens, tokens };
}
