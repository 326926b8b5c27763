import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Feeds, Graph } from "../../src/graph/graph.ts";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { fedTensor, lifted } from "../../src/models/checkpoint/lift.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { fromInts, toFloat32 } from "../../src/tensor/numeric.ts";
import { type HostTensor, load, tensor } from "../../src/tensor/tensor.ts";
import { openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
const encoders: ReadonlySet<string> = new Set(["bert", "roberta", "modernbert", "vit"]);
const decoders = fixtures.cases.map(({ name }) => name).filter((name) => !encoders.has(name));
const tokens = fromInts("i64", [2, 5], [3, 7, 11, 2, 9, 20, 4, 4, 13, 5]);

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

async function run(graph: Graph, feeds: Feeds): Promise<ReadonlyMap<string, HostTensor>> {
  const session = await runtime.compile(graph);
  const out = await session.run(feeds);
  await session.release();
  return out;
}

const resultOf = (out: ReadonlyMap<string, HostTensor>, name: string): HostTensor => out.get(name) ?? expect.fail();

function difference(a: HostTensor, b: HostTensor): number {
  expect(a.shape).toEqual(b.shape);
  const other = toFloat32(b);
  return toFloat32(a).reduce((most, x, i) => Math.max(most, Math.abs(x - (other[i] ?? Number.NaN))), 0);
}

async function wholeLogits(model: CheckpointModel, ids: HostTensor): Promise<HostTensor> {
  return resultOf(await run(model.graph().graph, new Map([["input_ids", ids]])), "logits");
}

describe("stages one after the other are the whole model", () => {
  it.each(["llama", "llama-tied-biased", "gpt2"])("%s, each a graph of its own", async (name) => {
    const model = checkpointModel(await fixtures.open(name));
    let x = tokens;
    for (const stage of model.stages) {
      const out = await run(stage.graph(), new Map([[stage.input.name, x]]));
      x = resultOf(out, stage.output.name);
    }
    expect(difference(x, await wholeLogits(model, tokens))).toBeLessThan(1e-5);
  });

  it("blocks of a kind are one graph that is fed their parameters; others are not", async () => {
    const model = checkpointModel(await fixtures.open("llama"));
    const stages = model.stages.map((stage) => ({ stage, lift: lifted(stage.graph(), stage.parameters) }));
    const keys = stages.map(({ lift }) => lift.key);
    expect(keys[1]).toBe(keys[2]);
    expect(new Set(keys).size).toBe(3);
    let x = tokens;
    for (const { stage, lift } of stages) {
      const shared = stages.find((other) => other.lift.key === lift.key)?.lift.graph ?? expect.fail();
      const feeds = new Map([[stage.input.name, x]]);
      for (const { input, tensor: name } of lift.parameters) {
        feeds.set(input, fedTensor(await load(model.checkpoint.tensors.get(name) ?? expect.fail())));
      }
      x = resultOf(await run(shared, feeds), stage.output.name);
    }
    expect(difference(x, await wholeLogits(model, tokens))).toBeLessThan(1e-5);
  });

  it("a window makes another kind of block", async () => {
    const model = checkpointModel(await fixtures.open("qwen2-window"));
    const [first, second] = model.stages.slice(1).map((stage) => lifted(stage.graph(), stage.parameters).key);
    expect(first).not.toBe(second);
  });
});

describe("a cache", () => {
  it.each(decoders)("%s: a text in three calls is the text in one", async (name) => {
    const model = checkpointModel(await fixtures.open(name));
    const { graph } = model.graph("cached");
    const whole = toFloat32(await wholeLogits(model, tokens));
    const session = await runtime.compile(graph);
    const ids = [3, 7, 11, 2, 9];
    const logits: number[] = [];
    let past = new Map<string, HostTensor>();
    for (const { name: input, dims } of graph.inputs) {
      const [, heads, , size] = dims ?? [];
      if (typeof heads === "number" && typeof size === "number") past.set(input, tensor("f32", [1, heads, 0, size]));
    }
    for (const [start, end] of [
      [0, 2],
      [2, 3],
      [3, 5],
    ] as const) {
      const part = ids.slice(start, end);
      const out = await session.run(
        new Map([
          ...past,
          ["input_ids", fromInts("i64", [1, part.length], part)],
          ["attention_mask", fromInts("i64", [1, end], Array(end).fill(1))],
          [
            "position_ids",
            fromInts(
              "i64",
              [1, part.length],
              part.map((_, i) => start + i),
            ),
          ],
        ]),
      );
      logits.push(...toFloat32(resultOf(out, "logits")));
      past = new Map(
        [...out].flatMap(([key, value]) =>
          key === "logits" ? [] : [[key.replace("present", "past_key_values"), value]],
        ),
      );
    }
    await session.release();
    const expected = [...whole.subarray(0, logits.length)];
    expect(logits).toHaveLength(5 * model.outline.vocabulary);
    expect(Math.max(...expected.map((x, i) => Math.abs(x - (logits[i] ?? Number.NaN))))).toBeLessThan(1e-5);
  });

  it("padding in front changes nothing", async () => {
    const model = checkpointModel(await fixtures.open("llama"));
    const { graph } = model.graph("cached");
    const feeds = new Map<string, HostTensor>([
      ["input_ids", fromInts("i64", [1, 7], [0, 0, 3, 7, 11, 2, 9])],
      ["attention_mask", fromInts("i64", [1, 7], [0, 0, 1, 1, 1, 1, 1])],
      ["position_ids", fromInts("i64", [1, 7], [0, 0, 0, 1, 2, 3, 4])],
    ]);
    for (const { name, dims } of graph.inputs) if (dims?.length === 4) feeds.set(name, tensor("f32", [1, 2, 0, 4]));
    const logits = toFloat32(resultOf(await run(graph, feeds), "logits"));
    const whole = toFloat32(await wholeLogits(model, tokens));
    const width = model.outline.vocabulary;
    const [padded, plain] = [logits.subarray(2 * width), whole.subarray(0, 5 * width)];
    expect(padded.every(Number.isFinite)).toBe(true);
    expect(plain.reduce((most, x, i) => Math.max(most, Math.abs(x - (padded[i] ?? Number.NaN))), 0)).toBeLessThan(1e-5);
  });
});
