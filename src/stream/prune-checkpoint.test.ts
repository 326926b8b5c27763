import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromTensors } from "../data/from-tensors.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { type CheckpointModel, checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { phaseClock } from "../pipeline/measuring/phase-clock.ts";
import { pruneWeights } from "../pipeline/prune-weights.ts";
import type { WeightPlan } from "../plans/plan.ts";
import { planOf, type Settings } from "../plans/settings.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Tensor, fromInts, toFloat32 } from "../tensor/numeric.ts";
import { random as seeded } from "../tensor/random.ts";
import { load, refOf, type TensorRef } from "../tensor/tensor.ts";
import { madeUpText } from "../testbeds/made-up-text.ts";
import { llamaCheckpoint } from "../testbeds/models/llama-checkpoint.ts";
import { versionsInMemory } from "./memory/parameter-versions.ts";
import { pruneCheckpoint } from "./prune-checkpoint.ts";
import { memoryWork, type Work } from "./work.ts";

const sizes = { vocabulary: 50, width: 32, layers: 3, heads: 4, kvHeads: 2, inner: 48 };
const outside = ["model.embed_tokens.weight", "lm_head.weight"];

function windows(count: number, time: number, vocabulary = sizes.vocabulary) {
  const source = seeded(7, "windows");
  const tokens = Array.from({ length: count * time }, () => source.int(vocabulary));
  return fromTensors(new Map([["input_ids", fromInts("i64", [count, time], tokens)]]));
}

function planned(settings: Settings): WeightPlan {
  const plan = planOf({ granularity: "weight", sparsity: 0.5, ...settings }, 0);
  return plan.kind === "weights" ? plan : expect.fail();
}

const calibration = windows(5, 20);
let runtime: Runtime;
let model: CheckpointModel;
let analysis: Analysis;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  model = checkpointModel(llamaCheckpoint(sizes, "f32"));
  analysis = await analyse(model.graph().graph, runtime);
});
afterAll(() => runtime.close());

const streamed = (plan: WeightPlan, more: { inputs?: "pruned" | "dense"; work?: Work; model?: CheckpointModel } = {}) =>
  pruneCheckpoint(more.model ?? model, plan, {
    ...{ runtime, calibration, batchSize: 2, clock: phaseClock(), work: memoryWork() },
    ...more,
  });

/** The same by what prunes graphs in memory. */
async function inMemory(plan: WeightPlan, from: Analysis, ignore: readonly string[]): Promise<Analysis> {
  const options = { runtime, calibration, batchSize: 2, ignore: [...outside, ...ignore], seed: 0 };
  const { graph } = await pruneWeights(from, plan, options, phaseClock());
  return { ...from, graph };
}

async function expectSame(
  names: readonly string[],
  a: ReadonlyMap<string, TensorRef>,
  b: ReadonlyMap<string, TensorRef>,
): Promise<void> {
  for (const name of names) {
    const [one, other] = [await load(a.get(name) ?? expect.fail()), await load(b.get(name) ?? expect.fail())];
    expect({ name, values: toFloat32(one) }).toEqual({ name, values: toFloat32(other) });
  }
}

const blockWise = async (plan: WeightPlan): Promise<Analysis> => {
  let now = analysis;
  for (const block of [0, 1, 2]) {
    const others = [0, 1, 2].filter((n) => n !== block).map((n) => `model.layers.${n}.*`);
    now = await inMemory(plan, now, others);
  }
  return now;
};

describe("a checkpoint that is pruned stage by stage", () => {
  it.each<Settings>([
    { criterion: "wanda", scope: "row" },
    { criterion: "l1", scope: "global" },
    { criterion: "wanda", scope: "global" },
    { criterion: "random", allocation: "erk" },
    { criterion: "l1", allocation: "lamp" },
    { criterion: "wanda", granularity: "2:4" },
  ])("equals the whole graph that is pruned in memory, where dense stages are measured: %j", async (settings) => {
    const plan = planned(settings);
    const { checkpoint, layers } = await streamed(plan, { inputs: "dense" });
    const whole = await inMemory(plan, analysis, []);
    expect(layers).toHaveLength(21);
    const names = [...checkpoint.tensors.keys()];
    await expectSame(names, checkpoint.tensors, whole.graph.constants);
  });

  it.each<Settings>([
    { criterion: "wanda", scope: "row" },
    { criterion: "sparsegpt", granularity: "2:4" },
    { criterion: "sparsegpt", order: "activation" },
  ])("equals blocks pruned one after the other, each measured behind those before it: %j", async (settings) => {
    const plan = planned(settings);
    const { checkpoint, layers } = await streamed(plan);
    const whole = await blockWise(plan);
    await expectSame(
      layers.map(({ name }) => name),
      checkpoint.tensors,
      whole.graph.constants,
    );
    const dense = await streamed(plan, { inputs: "dense" });
    const last = layers.filter(({ name }) => name.startsWith("model.layers.2.")).map(({ name }) => name);
    await expect(expectSame(last, checkpoint.tensors, dense.checkpoint.tensors)).rejects.toThrow();
  });

  it("takes columns in the order that is asked for", async () => {
    const [given, ordered] = await Promise.all(
      (["given", "activation"] as const).map((order) => streamed(planned({ criterion: "sparsegpt", order }))),
    );
    expect(ordered?.layers).toEqual(given?.layers);
    const same = expectSame(
      given?.layers.map(({ name }) => name) ?? [],
      given?.checkpoint.tensors ?? new Map(),
      ordered?.checkpoint.tensors ?? new Map(),
    );
    await expect(same).rejects.toThrow();
  });

  it("reads gradients of the dense model where a criterion asks for them", async () => {
    const plan = planned({ criterion: "gblm", scope: "row" });
    const { layers, checkpoint } = await streamed(plan);
    const wandas = await streamed(planned({ criterion: "wanda", scope: "row" }));
    expect(layers).toEqual(wandas.layers);
    const names = layers.map(({ name }) => name);
    await expect(expectSame(names, checkpoint.tensors, wandas.checkpoint.tensors)).rejects.toThrow();
  });

  it("compares gradients of the text with those of general text, as the whole graph in memory does", async () => {
    const [text, general] = [3, 4].map((seed) => madeUpText(6, 12, sizes.vocabulary, seed));
    if (text === undefined || general === undefined) expect.fail();
    const plan = planned({ criterion: "alignment" });
    const kept = versionsInMemory();
    const options = { runtime, batchSize: 2, clock: phaseClock(), work: memoryWork(), versions: kept };
    const { checkpoint, layers } = await pruneCheckpoint(model, plan, { ...options, calibration: text, general });
    expect(layers).toHaveLength(21);
    const here = { runtime, calibration: text, general, batchSize: 2, ignore: outside, seed: 0 };
    const { graph } = await pruneWeights(analysis, plan, here, phaseClock());
    const exchanged = await pruneWeights(
      analysis,
      plan,
      { ...here, calibration: general, general: text },
      phaseClock(),
    );
    const zeros = async (ref: TensorRef | undefined) =>
      toFloat32(await load(ref ?? expect.fail())).map((w) => +(w === 0));
    let [different, other, all] = [0, 0, 0];
    for (const { name } of layers) {
      const mask = await zeros(checkpoint.tensors.get(name));
      const [same, swapped] = [
        await zeros(graph.constants.get(name)),
        await zeros(exchanged.graph.constants.get(name)),
      ];
      all += mask.length;
      different += mask.filter((zero, i) => zero !== same[i]).length;
      other += mask.filter((zero, i) => zero !== swapped[i]).length;
    }
    // Where two weights are worth about the same, rounding decides.
    expect(different / all).toBeLessThan(0.002);
    expect(other / all).toBeGreaterThan(0.02);
    for (const version of ["gradient", "gradientSquare", "generalGradient", "generalGradientSquare"]) {
      expect(kept.of(version).has("model.layers.1")).toBe(true);
    }
    const alone = pruneCheckpoint(model, plan, { ...options, calibration: text });
    await expect(alone).rejects.toThrow(/alignment: expected general data beside the calibration inputs, got none/);
  });

  it("leaves embedding, head, norms and what is ignored as they are", async () => {
    const { checkpoint, layers } = await pruneCheckpoint(model, planned({ criterion: "l1" }), {
      ...{ runtime, calibration: null, batchSize: 2, clock: phaseClock(), work: memoryWork() },
      ignore: ["*.down_proj.weight"],
    });
    expect(layers).toHaveLength(18);
    const touched = new Set(layers.map(({ name }) => name));
    for (const [name, ref] of checkpoint.tensors) {
      expect(ref === model.checkpoint.tensors.get(name)).toBe(!touched.has(name));
    }
  });

  it("gives the same when it was stopped behind any stage and goes on", async () => {
    const plan = planned({ criterion: "wanda", scope: "row" });
    const whole = await streamed(plan);
    for (const stop of [1, 2]) {
      const kept = memoryWork();
      let added = 0;
      const failing: Work = {
        get: kept.get,
        add: async (stage, finished) => {
          if (added++ === stop) throw new Error("killed");
          await kept.add(stage, finished);
        },
      };
      await expect(streamed(plan, { work: failing })).rejects.toThrow("killed");
      const resumed = await streamed(plan, { work: kept });
      await expectSame([...whole.checkpoint.tensors.keys()], resumed.checkpoint.tensors, whole.checkpoint.tensors);
      // A stage in the work that is not what this run would have made shows in those behind it.
      const [first] = model.stages.filter(({ role }) => role === "block");
      const found = kept.get(first?.name ?? "") ?? expect.fail();
      const spoilt = memoryWork();
      const tensors = new Map(
        [...found.tensors.keys()].map((name) => [name, model.checkpoint.tensors.get(name) ?? expect.fail()]),
      );
      await spoilt.add(first?.name ?? "", { ...found, tensors });
      const other = await streamed(plan, { work: spoilt });
      const last = whole.layers.at(-1)?.name ?? "";
      await expect(expectSame([last], other.checkpoint.tensors, whole.checkpoint.tensors)).rejects.toThrow();
    }
  });
});

describe("what cannot be streamed", () => {
  const wanda = () => planned({ criterion: "wanda", scope: "row" });

  it("names a weight that is no number", async () => {
    const name = "model.layers.1.mlp.up_proj.weight";
    const values = new Float32Array(48 * 32).fill(0.1);
    values[3 * 32 + 7] = Number.NaN;
    const tensors = new Map(model.checkpoint.tensors).set(name, refOf(float32Tensor([48, 32], values)));
    const broken = checkpointModel({ ...model.checkpoint, tensors });
    await expect(streamed(wanda(), { model: broken })).rejects.toThrow(
      `llama: ${name}: expected finite weights, got NaN at [3, 7].`,
    );
  });

  it("refuses windows that are no windows of this model", async () => {
    const options = { runtime, batchSize: 2, clock: phaseClock(), work: memoryWork() };
    const run = (data: typeof calibration) => pruneCheckpoint(model, wanda(), { ...options, calibration: data });
    await expect(run(windows(2, 20, 400))).rejects.toThrow("expected tokens below the 50 entries");
    await expect(run(windows(1, 2049))).rejects.toThrow("expected windows of at most the 2048 positions");
    const floats = fromTensors(new Map([["x", float32Tensor([2, 4], new Float32Array(8))]]));
    await expect(run(floats)).rejects.toThrow(
      "expected windows of tokens, whole numbers [windows, time], got f32 [2, 4]",
    );
  });

  it("refuses plans that need more than one way through the model", async () => {
    await expect(streamed(planned({ criterion: "l1", rounds: 2 }))).rejects.toThrow("--rounds");
    await expect(streamed(planned({ criterion: "l1", recover: "lsq" }))).rejects.toThrow("--recover");
    await expect(streamed(planned({ criterion: "synflow" }))).rejects.toThrow("got one that reads synapticFlow");
    await expect(streamed(planned({ criterion: "gblm", scope: "global" }))).rejects.toThrow("expected a smaller scope");
  });
});
