import { afterAll, beforeAll, expect, it } from "vitest";
import { indexed } from "../data/dataset.ts";
import { checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { likelihood } from "../stats/likelihood.ts";
import { fromInts } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { llamaCheckpoint } from "../testbeds/models/llama-checkpoint.ts";
import { checkpointLikelihood } from "./evaluate-checkpoint.ts";
import { hiddenInMemory } from "./hidden-states.ts";

const sizes = { vocabulary: 40, width: 16, layers: 2, heads: 2, kvHeads: 1, inner: 24 };
const time = 10;

/** Windows with the next token as the label of each place but the last. */
const source = random(5);
const rows = Array.from({ length: 5 }, () => Array.from({ length: time }, () => source.int(sizes.vocabulary)));
const text = indexed({
  description: "made-up text",
  count: rows.length,
  labelled: true,
  labelShape: [time],
  features: new Map([["input_ids", { dtype: "i64", shape: [time] }]]),
  gather: async (positions) => {
    const chosen = Array.from(positions, (position) => rows[position] ?? expect.fail());
    return {
      inputs: new Map([["input_ids", fromInts("i64", [chosen.length, time], chosen.flat())]]),
      labels: Int32Array.from(chosen.flatMap((row) => [...row.slice(1), -1])),
      count: chosen.length,
    };
  },
});

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
