import { afterAll, beforeAll, expect, it } from "vitest";
import { checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { evaluate } from "../runtime/evaluate.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { fromInts, toFloat32 } from "../tensor/numeric.ts";
import { chosen, continuationsOf, written } from "./continuations.ts";
import { madeUpText } from "./made-up-text.ts";
import { llamaCheckpoint } from "./models/llama-checkpoint.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

const sizes = { vocabulary: 24, width: 16, layers: 2, heads: 2, kvHeads: 1, inner: 24 };
const graphOf = (seed: number) => checkpointModel(llamaCheckpoint(sizes, "f32", seed)).graph().graph;
const graph = graphOf(0);
const text = madeUpText(20, 16, sizes.vocabulary, 2);
const small = { prompts: 10, prompt: 5, length: 4, others: 2 };

/** Σ log p of the last `length` tokens of a text, place by place. */
async function logLikelihood(tokens: readonly number[], length: number): Promise<number> {
  const feeds = new Map([["input_ids", fromInts("i64", [1, tokens.length], [...tokens])]]);
  const [logits] = (await evaluate(runtime, graph, [graph.outputs[0]?.name ?? ""], feeds)).values();
  const values = logits === undefined ? new Float32Array(0) : toFloat32(logits);
  let sum = 0;
  for (let at = tokens.length - length; at < tokens.length; at++) {
    const row = [...values.subarray((at - 1) * sizes.vocabulary, at * sizes.vocabulary)];
    sum += (row[tokens[at] ?? 0] ?? 0) - Math.log(row.reduce((total, x) => total + Math.exp(x), 0));
  }
  return sum;
}

it("a model writes its own continuations, another does not", async () => {
  const all = await continuationsOf(runtime, graph, text, small);
  expect(all.prompts).toHaveLength(10);
  for (const [i, own] of all.own.entries()) {
    const ways = [own, ...(all.others[i] ?? [])].map((way) => way.join());
    expect(new Set(ways).size).toBe(3);
  }
  expect(await written(runtime, graph, all)).toBe(100);
  expect(await written(runtime, graphOf(5), all)).toBeLessThan(50);
});

it("what is chosen is what is likelier than all others", async () => {
  const all = await continuationsOf(runtime, graph, text, small);
  let right = 0;
  for (const [i, prompt] of all.prompts.entries()) {
    const ways = [all.own[i] ?? [], ...(all.others[i] ?? [])];
    const scores: number[] = [];
    for (const way of ways) scores.push(await logLikelihood([...prompt, ...way], 4));
    if (scores.slice(1).every((score) => score < (scores[0] ?? 0))) right++;
  }
  expect(await chosen(runtime, graph, all)).toBeCloseTo(10 * right, 9);
  expect(right).toBeGreaterThan(5);
  // Where another way takes the place of the own one, it is chosen where that was not.
  const swapped = {
    ...all,
    own: all.others.map(([first = new Int32Array(0)]) => first),
    others: all.own.map((own) => [own]),
  };
  expect(await chosen(runtime, graph, swapped)).toBeLessThan(50);
});
