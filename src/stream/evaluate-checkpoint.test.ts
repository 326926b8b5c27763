import { afterAll, beforeAll, expect, it } from "vitest";
import { checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { likelihood } from "../stats/answers/likelihood.ts";
import { madeUpText } from "../testbeds/made-up-text.ts";
import { llamaCheckpoint } from "../testbeds/models/llama-checkpoint.ts";
import { checkpointLikelihood } from "./evaluate-checkpoint.ts";
import { hiddenInMemory } from "./memory/hidden-states.ts";

const sizes = { vocabulary: 40, width: 16, layers: 2, heads: 2, kvHeads: 1, inner: 24 };
const time = 10;

const text = madeUpText(5, time, sizes.vocabulary, 5);

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

it.each([
  ["f32", false],
  ["bf16", true],
] as const)("text is as likely stage by stage as in the whole graph: %s, tied %s", async (dtype, tied) => {
  const model = checkpointModel(llamaCheckpoint({ ...sizes, tied }, dtype));
  const found = await checkpointLikelihood(model, text, { runtime, batchSize: 2, hidden: hiddenInMemory() });
  const whole = await likelihood(runtime, model.graph().graph, text, { batchSize: 2 });
  expect(found.count).toBe(5 * (time - 1));
  expect(found.nll).toBeCloseTo(whole.nll, 4);
  expect(found.hits).toBe(whole.hits);
  const other = checkpointModel(llamaCheckpoint({ ...sizes, tied }, dtype, 1));
  const control = await checkpointLikelihood(other, text, { runtime, batchSize: 2, hidden: hiddenInMemory() });
  expect(Math.abs(control.nll - whole.nll)).toBeGreaterThan(1e-2);
});

it("text without a token to predict is refused", async () => {
  const model = checkpointModel(llamaCheckpoint(sizes));
  const blind = {
    ...text,
    labelled: false,
    batches: async function* (size: number) {
      for await (const { labels: _, ...batch } of text.batches(size)) yield batch;
    },
  };
  await expect(checkpointLikelihood(model, blind, { runtime, batchSize: 2, hidden: hiddenInMemory() })).rejects.toThrow(
    "expected labels",
  );
});
