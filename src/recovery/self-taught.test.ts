import { afterAll, beforeAll, expect, it } from "vitest";
import { modelOf } from "../formats/onnx/encode.ts";
import { checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { generate } from "../models/generation/generate.ts";
import { modelFrom } from "../models/model.ts";
import { prune } from "../pipeline/prune.ts";
import type { BranchPlan } from "../plans/plan.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { likelihood } from "../stats/answers/likelihood.ts";
import { toInts } from "../tensor/numeric.ts";
import { madeUpText } from "../testbeds/made-up-text.ts";
import { llamaCheckpoint } from "../testbeds/models/llama-checkpoint.ts";
import { answeredPrompts, type SelfTaughtOptions, selfTaught } from "./self-taught.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

const sizes = { vocabulary: 24, width: 16, layers: 3, heads: 2, kvHeads: 1, inner: 24 };
const { graph } = checkpointModel(llamaCheckpoint(sizes, "f32")).graph();
const text = madeUpText(8, 20, sizes.vocabulary, 1);
const short = { prompt: 4, answer: 8, perWindow: 2 };

async function rowsOf(options: SelfTaughtOptions) {
  const data = await answeredPrompts(runtime, graph, text, { ...short, ...options, seed: 3, job: {} });
  const { inputs, labels = new Int32Array(0) } = await data.gather(
    Int32Array.from({ length: data.count }, (_, i) => i),
  );
  const [tensor] = inputs.values();
  const tokens = tensor === undefined ? [] : toInts(tensor);
  const cut = <T>(all: ArrayLike<T>) =>
    Array.from({ length: data.count }, (_, i) => Array.from(all).slice(12 * i, 12 * i + 12));
  return { data, tokens: cut(tokens), labels: cut(labels) };
}

it("prompts are stretches of the text, answered by the text or by the model, and only answers have labels", async () => {
  const windows = await text.gather(Int32Array.from({ length: 8 }, (_, i) => i));
  const [tensor] = windows.inputs.values();
  const ids = tensor === undefined ? [] : toInts(tensor);
  const plain = await rowsOf({ answers: "text" });
  expect(plain.data.count).toBe(16);
  expect(plain.tokens[0]).toEqual(ids.slice(0, 12));
  expect(plain.tokens[1]).toEqual(ids.slice(8, 20));
  expect(plain.tokens[3]).toEqual(ids.slice(28, 40));
  const own = await rowsOf({ temperature: 0 });
  const { texts } = await generate(
    runtime,
    graph,
    own.tokens.map((row) => Int32Array.from(row.slice(0, 4))),
    { maxTokens: 8 },
  );
  for (const [i, row] of own.tokens.entries()) {
    expect(row.slice(0, 4)).toEqual(plain.tokens[i]?.slice(0, 4));
    expect(row.slice(4)).toEqual([...(texts[i]?.tokens ?? [])]);
    expect(own.labels[i]).toEqual([-1, -1, -1, ...row.slice(4), -1]);
  }
  expect(own.tokens).not.toEqual(plain.tokens);
  expect((await rowsOf({})).tokens).toEqual((await rowsOf({})).tokens);
  expect((await rowsOf({})).tokens).not.toEqual(own.tokens);
});

it("windows that are too short are refused", async () => {
  await expect(rowsOf({ prompt: 10, answer: 11 })).rejects.toThrow(
    /at least 21 tokens, a prompt and its answer, got 20/,
  );
});

it("a model without a block learns to answer as the original does", async () => {
  const training = { settings: { length: { updates: 60 }, batchSize: 8, rate: 5e-3 } };
  const plan = (recovery: BranchPlan["recovery"]): BranchPlan => ({
    kind: "branches",
    criterion: { id: "random" },
    span: 2,
    target: { kind: "sparsity", sparsity: 1 / 3 },
    means: false,
    recovery,
  });
  const options = { runtime, calibration: text, measure: false, compare: false, seed: 1 };
  const model = modelFrom("tiny", modelOf(graph));
  const cut = await prune(model, plan([]), options);
  const taught = await prune(model, plan([selfTaught({ ...short, temperature: 0, training })]), options);
  const read = await prune(model, plan([selfTaught({ ...short, answers: "text", training })]), options);
  const { data } = await rowsOf({ temperature: 0 });
  const loss = async (one: typeof cut) => {
    const { nll, count } = await likelihood(runtime, one.model.onnx.graph, data, { batchSize: 16 });
    return nll / count;
  };
  const [before, after, other] = [await loss(cut), await loss(taught), await loss(read)];
  expect(after).toBeLessThan(0.5 * before);
  expect(other).toBeGreaterThan(2 * after);
  expect(taught.report.training).toHaveLength(1);
});
