import { afterAll, describe, expect, it } from "vitest";
import { unitAllocationDefaults } from "../../allocation/units.ts";
import type { Phase } from "../../claims/reproduction.ts";
import { normScale } from "../../criteria/weights/norm-scale.ts";
import { fromTensors } from "../../data/from-tensors.ts";
import { modelOf } from "../../formats/onnx/encode.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { modelFrom } from "../../models/model.ts";
import type { UnitPlan } from "../../plans/plan.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { load } from "../../tensor/tensor.ts";
import { redrawn } from "../courses.ts";
import type { Blueprint } from "../models/blueprints.ts";
import { batchNorm, conv, type PictureShape, picture, pooledHead, relu } from "../models/layers.ts";
import type { Course, Testbed } from "../testbed.ts";
import { followPhases } from "./phases.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

const shape: PictureShape = [1, 6, 6];
const width = 10;

/** One convolution with a norm behind it. */
const blueprint: Blueprint = {
  scheme: "kaiming-normal",
  graph: () => {
    const g = builder("net");
    const x = conv(g, "conv", picture(g, shape), [1, width], { kernel: 3 });
    pooledHead(g, "fc", relu(g, batchNorm(g, "norm", x, width)), width, 2);
    return g.finish();
  },
};

const data = (count: number, seed: number) => {
  const pixels = new Float32Array(count * 36);
  random(seed, "pixels").fillNormal(pixels);
  const labels = Int32Array.from({ length: count }, (_, i) => ((pixels[36 * i] ?? 0) > 0 ? 1 : 0));
  return fromTensors(new Map([["image", float32Tensor([count, ...shape], pixels)]]), labels, "pixels");
};

const course: Course = {
  train: data(64, 5),
  lessons: {
    ...{ epochs: 4, batchSize: 16, optimiser: "sgd", rate: 0.05, warmUp: 0.1, decay: 0, smoothing: 0 },
    jitter: { pad: 0, flip: false },
  },
  more: [],
  untrained: (run, seed) => redrawn(blueprint, blueprint.graph(), run, seed),
  redrawn: (graph, run, seed) => redrawn(blueprint, graph, run, seed),
};
const testbed: Testbed = {
  id: "pixels",
  description: "pixels",
  model: modelFrom("pixels.onnx", modelOf(blueprint.graph())),
  pool: data(16, 6),
  test: data(16, 7),
  noise: (count, seed) => data(count, seed),
  course,
};

const follow = (...phases: readonly Phase[]) => followPhases(testbed, course, phases, { runtime, seed: 0, epochs: 4 });

async function valuesOf(graph: Graph, name: string): Promise<number[]> {
  return [...toFloat32(await load(graph.constants.get(name) ?? expect.fail()))];
}

const plan: UnitPlan = {
  kind: "units",
  criterion: normScale(),
  scores: { members: "all", reduce: "mean", normalise: "none" },
  target: { kind: "sparsity", sparsity: 0.4 },
  allocation: { ...unitAllocationDefaults, scope: "global" },
  recovery: [],
};
const train: Phase = { kind: "train" };
const choose: Phase = { kind: "choose", plan };
const cut: Phase = { kind: "cut" };

/** Channels in ascending order of what was learnt of their scales. */
async function order(graph: Graph): Promise<readonly number[]> {
  const scales = (await valuesOf(graph, "norm.weight")).map(Math.abs);
  return [...scales.keys()].sort((a, b) => (scales[a] ?? 0) - (scales[b] ?? 0));
}

describe("what is chosen", () => {
  it("stays where it is until it is cut, and is cut as pruning at once would", async () => {
    const [whole, chosen] = [await follow(train), await follow(train, choose)];
    expect(await valuesOf(chosen.graph, "conv.weight")).toEqual(await valuesOf(whole.graph, "conv.weight"));
    const [later, once] = [await follow(train, choose, cut), await follow(train, { kind: "prune", plan })];
    expect(await valuesOf(later.graph, "conv.weight")).toEqual(await valuesOf(once.graph, "conv.weight"));
    expect(await valuesOf(later.graph, "norm.weight")).toHaveLength(6);
  });

  it("is still chosen after going back, though other channels are smallest there", async () => {
    const { graph } = await follow(train, { kind: "mark" }, train, train, choose, { kind: "return" }, cut);
    const [early, late] = [await follow(train), await follow(train, train, train)];
    const kept = (await order(late.graph)).slice(4).sort((a, b) => a - b);
    const scales = await valuesOf(early.graph, "norm.weight");
    expect(await valuesOf(graph, "norm.weight")).toEqual(kept.map((channel) => scales[channel]));
  });

  it("is shrunk alone; a penalty on all shrinks all", async () => {
    const shrink = (scales: "all" | "chosen"): Phase => ({ kind: "train", shrink: { scales, strength: 0.3 } });
    const [plain, alone, all] = [
      await follow(train, train),
      await follow(train, choose, shrink("chosen")),
      await follow(train, choose, shrink("all")),
    ];
    const gone = new Set((await order((await follow(train)).graph)).slice(0, 4));
    const sizeOf = async (graph: Graph, chosen: boolean) =>
      (await valuesOf(graph, "norm.weight"))
        .filter((_, channel) => gone.has(channel) === chosen)
        .reduce((sum, scale) => sum + Math.abs(scale), 0);
    expect(await sizeOf(alone.graph, true)).toBeLessThan(0.6 * (await sizeOf(plain.graph, true)));
    expect(await sizeOf(alone.graph, false)).toBeGreaterThan(0.9 * (await sizeOf(plain.graph, false)));
    expect(await sizeOf(all.graph, false)).toBeLessThan(0.8 * (await sizeOf(plain.graph, false)));
  });

  it("has to be chosen first, and a network marked before it is gone back to", async () => {
    await expect(follow(cut)).rejects.toThrow(/chosen before/);
    await expect(follow({ kind: "return" })).rejects.toThrow(/marked before/);
    await expect(
      follow(choose, { kind: "prune", plan: { ...plan, given: new Map([["nobody", new Uint8Array(3)]]) } }),
    ).rejects.toThrow(/nobody/);
  });
});
