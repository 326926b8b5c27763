import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../../data/from-tensors.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { analyse } from "../../models/analysis.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { spectrum } from "../../tensor/linalg/low-rank.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { load, sizeOf } from "../../tensor/tensor.ts";
import { crossEntropy } from "../../train/objectives/losses.ts";
import { sgd } from "../../train/optimisers/sgd.ts";
import { trainable } from "../../train/parameters/trainable.ts";
import { trainSparse } from "./train-sparse.ts";
import type { TrainedRanks } from "./trained-ranks.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

function network(): Graph {
  const g = builder("net");
  const of = (name: string, shape: readonly number[]): string => {
    const values = new Float32Array(sizeOf(shape));
    random(4, name).fillNormal(values, 0, 0.4);
    return g.constant(float32Tensor(shape, values), name);
  };
  g.input("x", "f32", ["n", 1, 6, 6]);
  const stem = g.op("Relu", [g.op("Conv", ["x", of("stem", [6, 1, 3, 3])])]);
  const inner = g.op("Relu", [g.op("Conv", [stem, of("inner", [8, 6, 3, 3])])]);
  const flat = g.op("Flatten", [g.op("GlobalAveragePool", [inner])]);
  g.output(g.op("MatMul", [flat, of("head", [8, 2])], {}, "logits"), "f32", ["n", 2]);
  return g.finish();
}

const pixels = new Float32Array(32 * 36);
random(5, "pixels").fillNormal(pixels);
const labels = Int32Array.from({ length: 32 }, (_, i) => ((pixels[36 * i + 14] ?? 0) > 0 ? 1 : 0));
const data = fromTensors(new Map([["x", float32Tensor([32, 1, 6, 6], pixels)]]), labels, "pixels");

const plan: TrainedRanks = {
  factors: "channel",
  rule: { kind: "rank", rank: 2 },
  every: 4,
  from: 0,
  nuclear: 0,
  prunable: "no-stem",
};

/** Singular values of a kernel after a training of so many updates. */
async function valuesAfter(updates: number, changes: Partial<TrainedRanks>, name = "inner"): Promise<Float64Array> {
  const graph = network();
  const { matrices } = await analyse(graph, runtime);
  const trained = await trainSparse({
    ...{ runtime, graph, data, matrices, seed: 1, batchSize: 8, labels: "labels", rate: 0.05 },
    plan: { kind: "ranks", ranks: { ...plan, ...changes } },
    length: { updates },
    optimiser: (decay) => sgd({ momentum: 0, decay }),
    schedule: () => 1,
    parameters: await trainable(graph, matrices),
    objective: ({ g, outputs: [y], input }) => crossEntropy(g, y ?? expect.fail(), input("labels", "i32", [8])),
  });
  const ref = trained.graph.constants.get(name) ?? expect.fail();
  const [rows = 1] = ref.shape;
  return spectrum(Float64Array.from(toFloat32(await load(ref))), rows, sizeOf(ref.shape) / rows).values;
}

const rankOf = (values: Float64Array): number => values.filter((value) => value > 1e-5 * (values[0] ?? 0)).length;

describe("ranks that are trained", () => {
  it("are cut every so many updates, grow in between, and leave stem and head alone", async () => {
    expect(rankOf(await valuesAfter(8, {}))).toBe(2);
    expect(rankOf(await valuesAfter(9, {}))).toBeGreaterThan(2);
    expect(rankOf(await valuesAfter(8, {}, "stem"))).toBe(6);
    expect(rankOf(await valuesAfter(7, { from: 0.9 }))).toBe(8);
    expect(rankOf(await valuesAfter(8, { factors: "spatial" }))).toBeGreaterThan(2);
  });

  it("the nuclear norm makes their sum smaller by its strength, the rate and the pushes, without a cut too", async () => {
    const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);
    const [plain, pushed] = [await valuesAfter(5, { rule: null }), await valuesAfter(5, { rule: null, nuclear: 0.3 })];
    // One push, in the update after the fourth: all 8 singular values fall by rate times strength.
    expect(sum(plain) - sum(pushed)).toBeCloseTo(8 * 0.05 * 0.3, 3);
    expect(rankOf(pushed)).toBe(8);
    const cut = await valuesAfter(5, { nuclear: 0.3 });
    const bare = await valuesAfter(5, {});
    expect((bare[0] ?? 0) - (cut[0] ?? 0)).toBeCloseTo(0.05 * 0.3, 2);
  });

  it("need a kernel with a window", async () => {
    const g = builder("flat");
    g.input("x", "f32", ["n", 1, 6, 6]);
    const flat = g.op("Flatten", ["x"]);
    const w = g.constant(float32Tensor([36, 2], new Float32Array(72).fill(0.1)), "w");
    g.output(g.op("MatMul", [flat, w], {}, "logits"), "f32", ["n", 2]);
    const graph = g.finish();
    const { matrices } = await analyse(graph, runtime);
    const parameters = await trainable(graph, matrices);
    await expect(
      trainSparse({
        ...{ runtime, graph, data, matrices, parameters, batchSize: 8, labels: "labels", length: { updates: 1 } },
        plan: { kind: "ranks", ranks: plan },
        objective: ({ g: a, outputs: [y], input }) => crossEntropy(a, y ?? expect.fail(), input("labels", "i32", [8])),
      }),
    ).rejects.toThrow(/kernel with a window/);
  });
});
