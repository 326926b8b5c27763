import { afterAll, describe, expect, it } from "vitest";
import { builder } from "../src/graph/builder.ts";
import type { Graph } from "../src/graph/graph.ts";
import { checkpointModel } from "../src/models/checkpoint/checkpoint-model.ts";
import { drawToken } from "../src/models/generation/draw-token.ts";
import { type GenerateOptions, generate, type Prompt } from "../src/models/generation/generate.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";
import { load } from "../src/tensor/tensor.ts";
import { llama } from "../src/testbeds/models/llama.ts";
import { asCheckpoint } from "../src/testbeds/text/as-checkpoint.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

/** After token n comes n + 1, and the last is followed by the first. */
function counting(vocabulary: number): Graph {
  const g = builder("counting");
  g.input("tokens", "i64", ["batch", "time"]);
  const values = new Float32Array(vocabulary * vocabulary);
  for (let i = 0; i < vocabulary; i++) values[i * vocabulary + ((i + 1) % vocabulary)] = 5;
  const table = g.constant(float32Tensor([vocabulary, vocabulary], values), "table");
  g.output(g.op("Gather", [table, "tokens"], {}, "logits"), "f32", ["batch", "time", vocabulary]);
  return g.finish();
}

const config = { vocabulary: 32, width: 16, layers: 2, heads: 4, kvHeads: 2, inner: 24, time: 64 };

/** A decoder of larger random weights, so that what it says depends on all it has read. */
async function decoder() {
  const graph = llama(config);
  const constants = new Map(graph.constants);
  for (const [name, ref] of graph.constants) {
    if (!/attention|mlp|embed/.test(name) || ref.shape.length < 2) continue;
    const values = toFloat32(await load(ref)).map((x) => 20 * x);
    constants.set(name, { ...ref, resident: new Uint8Array(values.buffer) });
  }
  return checkpointModel(await asCheckpoint("tiny", { ...graph, constants }, config));
}

const said = async (
  graph: Graph,
  prompts: readonly (readonly number[] | Prompt)[],
  options: GenerateOptions = {},
): Promise<(string | number)[][]> => {
  const texts = prompts.map((one) => ("tokens" in one ? one : Int32Array.from(one)));
  return (await generate(runtime, graph, texts, options)).texts.map(({ tokens, ended }) => [...tokens, ended]);
};

/** Texts of several lengths with seeds, ends and lengths of their own. */
const several: readonly Prompt[] = [
  { tokens: Int32Array.of(3), seed: 5 },
  { tokens: Int32Array.of(7, 1, 30, 2, 9), seed: 2, maxTokens: 5 },
  { tokens: Int32Array.of(11, 4, 4), seed: 9, stop: (tokens) => tokens.length === 3 },
  { tokens: Int32Array.of(1, 20), seed: 5, end: Array.from({ length: 16 }, (_, i) => i) },
];

describe("generation", () => {
  it("goes on until a token ends the text, a rule stops it, or there is no room", async () => {
    const graph = counting(8);
    expect(await said(graph, [[1]], { maxTokens: 4 })).toEqual([[2, 3, 4, 5, "length"]]);
    expect(await said(graph, [[1]], { maxTokens: 9, end: [4] })).toEqual([[2, 3, "end"]]);
    expect(await said(graph, [[1]], { maxTokens: 9, positions: 4 })).toEqual([[2, 3, 4, "length"]]);
    const stop = (tokens: Int32Array) => tokens.at(-1) === 6;
    expect(await said(graph, [[5], [2]], { maxTokens: 9, end: [7], stop })).toEqual([
      [6, "stop"],
      [3, 4, 5, 6, "stop"],
    ]);
  });

  it("with a cache says what it says without one, and texts of a batch do not see each other", async () => {
    const model = await decoder();
    const prompts = [[3], [7, 1, 30, 2, 9], [11, 4, 4]];
    for (const drawing of [{}, { temperature: 0.8, topP: 0.9, seed: 4 }]) {
      const options = { maxTokens: 12, ...drawing };
      const together = await said(model.graph("cached").graph, prompts, options);
      // The first of a batch has the numbers of the first.
      expect((await said(model.graph("cached").graph, prompts.slice(0, 1), options))[0]).toEqual(together[0]);
      expect((await said(model.graph("tokens").graph, prompts.slice(0, 1), options))[0]).toEqual(together[0]);
      if (!("seed" in drawing)) {
        for (const [i, prompt] of prompts.entries()) {
          expect((await said(model.graph("tokens").graph, [prompt], options))[0]).toEqual(together[i]);
        }
        expect(new Set(together.map((ids) => ids.join())).size).toBe(3);
      }
      expect(await said(model.graph("cached").graph, prompts, options)).toEqual(together);
    }
    const [a] = await said(model.graph("cached").graph, prompts, { maxTokens: 12, temperature: 2, seed: 1 });
    expect(
      (await said(model.graph("cached").graph, prompts, { maxTokens: 12, temperature: 2, seed: 2 }))[0],
    ).not.toEqual(a);
  });

  it.each([
    ["greedy, with a cache", "cached", {}],
    ["drawn, with a cache", "cached", { temperature: 1.5, topP: 0.95 }],
    ["greedy, with padding", "padded", {}],
    ["greedy, by tokens alone", "tokens", {}],
    ["drawn, by tokens alone", "tokens", { temperature: 1.5, topK: 20 }],
  ] as const)(
    "each text of a batch ends by its own rules, and says what it says alone: %s",
    async (_, form, drawing) => {
      const { graph } = (await decoder()).graph(form);
      const options = { maxTokens: 9, ...drawing };
      const together = await said(graph, several, options);
      for (const [i, prompt] of several.entries())
        expect((await said(graph, [prompt], options))[0]).toEqual(together[i]);
      const ends = together.map((text) => text.at(-1));
      expect(ends.slice(0, 3)).toEqual(["length", "length", "stop"]);
      expect(together.slice(0, 3).map(({ length }) => length - 1)).toEqual([9, 5, 3]);
      // Where every text has the same rules, some of this is otherwise.
      const alike = await said(
        graph,
        several.map(({ tokens }) => ({ tokens })),
        options,
      );
      expect(alike.map(({ length }) => length - 1)).toEqual([9, 9, 9, 9]);
      if ("temperature" in drawing) expect(alike[0]).not.toEqual(together[0]);
    },
  );

  it.each([
    ["greedy", {}],
    ["drawn", { temperature: 1.5, topP: 0.95 }],
  ] as const)("that goes on from what an earlier run gave says what one run says: %s", async (_, drawing) => {
    const { graph } = (await decoder()).graph("cached");
    const texts = several.slice(0, 2).map(({ tokens, seed = 0 }) => ({ tokens, seed }));
    const whole = await generate(runtime, graph, texts, { maxTokens: 11, ...drawing });
    let before = texts.map((text): Prompt => text);
    for (const maxTokens of [4, 1, 6]) {
      const { texts: found } = await generate(runtime, graph, before, { maxTokens, ...drawing });
      before = before.map((text, i) => ({ ...text, said: found[i]?.tokens ?? new Int32Array(0) }));
    }
    expect(before.map((text) => text.said)).toEqual(whole.texts.map(({ tokens }) => tokens));
    if (!("temperature" in drawing)) return;
    // What was drawn before counts: another start of the numbers says something else.
    const anew = await generate(
      runtime,
      graph,
      whole.texts.map(({ tokens }, i) => ({
        tokens: Int32Array.of(...(texts[i]?.tokens ?? []), ...tokens.subarray(0, 4)),
        seed: texts[i]?.seed ?? 0,
      })),
      { maxTokens: 7, ...drawing },
    );
    expect([...(anew.texts[0]?.tokens ?? [])]).not.toEqual([...(whole.texts[0]?.tokens.subarray(4) ?? [])]);
  });

  it("goes on in a batch to the positions that the model has, each text by its own length", async () => {
    const { graph } = (await decoder()).graph("cached");
    const prompts = [[3], [7, 1, 30, 2, 9]];
    const together = await said(graph, prompts, { maxTokens: 100, positions: 12 });
    expect(together.map(({ length }) => length - 1)).toEqual([11, 7]);
    for (const [i, prompt] of prompts.entries()) {
      expect((await said(graph, [prompt], { maxTokens: 100, positions: 12 }))[0]).toEqual(together[i]);
    }
  });

  it("refuses what it cannot go on with", async () => {
    const graph = counting(8);
    await expect(said(graph, [[]])).rejects.toThrow(/prompt: expected texts with a token each, got none/);
    await expect(said(graph, [[1, 2, 3]], { positions: 3 })).rejects.toThrow(/at most 2 tokens.*got 3/);
    const old = { ...graph, opsets: new Map([["", 11]]) };
    await expect(said(old, [[1], [1, 2]])).rejects.toThrow(/texts of one length for a model without an attention_mask/);
    expect(await said(old, [[1], [2]], { maxTokens: 1 })).toEqual([
      [2, "length"],
      [3, "length"],
    ]);
    await expect(said(graph, [[1]], { topP: 0 })).rejects.toThrow(/top-p: expected a probability above 0, got 0/);
    const picture = builder("picture");
    picture.output(picture.op("Relu", [picture.input("pixels", "f32", ["n", 4])]));
    await expect(said(picture.finish(), [[1]])).rejects.toThrow(/expected inputs of tokens.*got pixels/);
  });
});

describe("a drawn token", () => {
  const logits = Float32Array.of(1, 3, 2, -1, 3);
  const shares = (temperature: number) => {
    const powers = [...logits].map((x) => Math.exp(x / temperature));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((p) => p / sum);
  };
  const draws = (options: Parameters<typeof drawToken>[1], n = 20_000) => {
    const stream = random(1, "draws");
    const counts = new Array<number>(logits.length).fill(0);
    for (let i = 0; i < n; i++) {
      const token = drawToken(logits, options, stream);
      counts[token] = (counts[token] ?? 0) + 1;
    }
    return counts.map((c) => c / n);
  };

  it("is the most likely one, or as likely as its share", () => {
    expect(drawToken(logits, {}, random(1))).toBe(1);
    for (const temperature of [0.5, 1, 3]) {
      const found = draws({ temperature });
      for (const [i, share] of shares(temperature).entries()) {
        expect(Math.abs((found[i] ?? 0) - share)).toBeLessThan(5 * Math.sqrt((share * (1 - share)) / 20_000));
      }
    }
    // Another temperature would be seen.
    expect(Math.abs((draws({ temperature: 3 })[1] ?? 0) - (shares(1)[1] ?? 0))).toBeGreaterThan(0.05);
  });

  it("is one of those that have the wanted probability together", () => {
    const [, one = 0, two = 0, , four = 0] = shares(1);
    expect(draws({ temperature: 1, topP: one + four + 0.01 }).map((c) => c > 0)).toEqual([
      false,
      true,
      true,
      false,
      true,
    ]);
    expect(draws({ temperature: 1, topP: one + four - 0.01 }).map((c) => c > 0)).toEqual([
      false,
      true,
      false,
      false,
      true,
    ]);
    expect(draws({ temperature: 1, topP: 1e-9 })).toEqual([0, 1, 0, 0, 0]);
    expect(draws({ temperature: 1, topK: 3 }).map((c) => c > 0)).toEqual([false, true, true, false, true]);
    expect(two).toBeLessThan(one);
  });
});
