import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { random } from "../src/criteria/weights/random.ts";
import type { Graph } from "../src/graph/graph.ts";
import { verify } from "../src/graph/passes/verify.ts";
import { analyse } from "../src/models/analysis.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../src/runtime/runtime.ts";
import { cut } from "../src/surgery/cut.ts";
import { checkLaw } from "../src/surgery/law.ts";
import { masked } from "../src/surgery/masked.ts";
import { float32Tensor, toFloat32 } from "../src/tensor/numeric.ts";
import { random as numbers } from "../src/tensor/random.ts";
import { sizeOf } from "../src/tensor/tensor.ts";
import { type Blueprint, glyphModels } from "../src/testbeds/models/blueprints.ts";
import { lenet5 } from "../src/testbeds/models/lenet5.ts";
import { resnet } from "../src/testbeds/models/resnet.ts";
import { initialise } from "../src/train/parameters/initialise.ts";
import { feedsOf, floats, masksOf } from "./laws.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

/** Numbers that training changes: float constants without running statistics and single numbers. */
function trained(graph: Graph): number {
  let total = 0;
  for (const [name, { dtype, shape }] of graph.constants) {
    if (dtype === "f32" && shape.length > 0 && !name.includes(".running_")) total += sizeOf(shape);
  }
  return total;
}

async function drawn(blueprint: Blueprint, seed = 0): Promise<Graph> {
  const { graph, matrices } = await analyse(blueprint.graph(), runtime);
  const { normal, scheme } = blueprint;
  const made = initialise(graph, matrices, { seed, scheme, ...(normal === undefined ? {} : { normal }) });
  expect(made.kept).toEqual([]);
  return made.graph;
}

/** Logits for so many pictures of noise. */
async function logits(graph: Graph, count: number): Promise<Float32Array> {
  const session = await runtime.compile(graph);
  const image = new Float32Array(count * 784);
  numbers(1, "pictures").fillUniform(image);
  const found = await session.run(new Map([["image", float32Tensor([count, 1, 28, 28], image)]]));
  await session.release();
  return toFloat32(found.get("logits") ?? expect.fail("no logits"));
}

describe("sizes", () => {
  const counts: Readonly<Record<keyof typeof glyphModels, number>> = {
    mlp: 266_610,
    lenet5: 61_706,
    vgg: 72_666,
    resnet8: 77_754,
    resnet8Narrow: 19_810,
    resnet20: 269_434,
    mobilenet: 26_858,
    vit: 138_890,
    lstm: 82_186,
  };
  it.each(Object.entries(counts))("%s has %i parameters", (id, count) => {
    const blueprint = new Map<string, Blueprint>(Object.entries(glyphModels)).get(id);
    expect(trained(blueprint?.graph() ?? expect.fail(id))).toBe(count);
  });

  it("known networks have their published numbers", () => {
    const caffe = { picture: [1, 28, 28], channels: [20, 50], pad: 0, widths: [500], classes: 10 } as const;
    expect(trained(lenet5(caffe))).toBe(431_080);
    const cifar = { picture: [3, 32, 32], widths: [16, 32, 64], shortcut: "pad", classes: 10 } as const;
    expect(trained(resnet({ ...cifar, blocks: 3 }))).toBe(269_722);
    expect(trained(resnet({ ...cifar, blocks: 9 }))).toBe(853_018);
    // Two 1 x 1 convolutions with their norms.
    expect(trained(resnet({ ...cifar, blocks: 3, shortcut: "conv" }))).toBe(269_722 + 16 * 32 + 64 + 32 * 64 + 128);
  });
});

describe.each(Object.keys(glyphModels))("%s", (id) => {
  const blueprint = new Map<string, Blueprint>(Object.entries(glyphModels)).get(id) ?? expect.fail(id);

  it("is valid, answers each picture alike in any batch, and differently to different ones", async () => {
    const graph = verify(await drawn(blueprint));
    const five = await logits(graph, 5);
    const one = await logits(graph, 1);
    expect(five.length).toBe(50);
    for (let c = 0; c < 10; c++) expect(one[c]).toBeCloseTo(five[c] ?? Number.NaN, 4);
    expect(Math.max(...five.subarray(0, 10).map((n, c) => Math.abs(n - (five[10 + c] ?? 0))))).toBeGreaterThan(1e-6);
    expect(Math.max(...five.map(Math.abs))).toBeLessThan(50);
  });

  it("loses 30 % of every group and equals the masked original", async () => {
    const analysis = await analyse(await drawn(blueprint), runtime);
    const masks = await masksOf(analysis, random(3));
    const small = verify(await cut(analysis.graph, analysis.coupling, analysis.facts, masks));
    const reference = masked(analysis.graph, analysis.coupling, analysis.facts, masks);
    const law = await checkLaw(runtime, reference, small, [await feedsOf(analysis)]);
    expect(law.relative).toBeLessThan(1e-4);
    expect(floats(small)).toBeLessThan(0.75 * floats(analysis.graph));
  });
});
