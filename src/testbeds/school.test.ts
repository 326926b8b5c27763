import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { normalise } from "../data/changes/normalise.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import { withLabels } from "../data/from-tensors.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { load } from "../tensor/tensor.ts";
import { classify } from "./bench/classify.ts";
import { type CoursePlan, untrained } from "./courses.ts";
import { learn } from "./learn.ts";
import { mlp } from "./models/mlp.ts";
import { scenes } from "./scenes/scenes.ts";
import { glyphs } from "./scenes/settings.ts";
import { type SchoolOptions, schooled } from "./school.node.ts";

let runtime: Runtime;
let cache: string;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  cache = mkdtempSync(join(tmpdir(), "espalier-school-"));
});
afterAll(async () => {
  await runtime.close();
  rmSync(cache, { recursive: true });
});

const easy = { ...glyphs, noise: [0.02, 0.05], clutter: { ...glyphs.clutter, count: [0, 0] } } as const;
const pictures = (split: string, count: number): IndexedDataset =>
  normalise(scenes(easy, { count, split }), { scale: 1 / 255 });

const plan: CoursePlan = {
  pictures: "glyphs",
  blueprint: {
    graph: () => mlp({ picture: [1, 28, 28], widths: [32], classes: 10 }),
    scheme: "kaiming-normal",
  },
  lessons: {
    epochs: 6,
    batchSize: 32,
    optimiser: "adamW",
    rate: 5e-3,
    warmUp: 0.1,
    decay: 0.01,
    smoothing: 0.05,
    jitter: { pad: 1, flip: false },
  },
};

const train = pictures("train", 640);
const test = pictures("test", 500);

describe("a course", () => {
  it("teaches a model what the labels say", async () => {
    const first = await untrained(plan.blueprint, runtime, 0);
    const before = await classify(runtime, first, test);
    const { graph, trained } = await learn(first, train, plan.lessons, { runtime, seed: 0 });
    const after = await classify(runtime, graph, test);
    expect(before.accuracy).toBeLessThan(25);
    expect(after.accuracy).toBeGreaterThan(50);
    expect(trained.points.length).toBe(6 * 20);
    // The rate rises over the first tenth, and ends near zero.
    expect(trained.points[0]?.rate).toBeCloseTo(5e-3 / 12, 6);
    expect(trained.points[11]?.rate).toBeCloseTo(5e-3, 6);
    expect(trained.points.at(-1)?.rate).toBeLessThan(1e-5);
    const shifted = withLabels(
      normalise(scenes(easy, { count: 640, split: "train" }), { scale: 1 / 255 }),
      scenes(easy, { count: 640, split: "other" }).labels,
    );
    const confused = await learn(first, shifted, plan.lessons, { runtime, seed: 0 });
    expect((await classify(runtime, confused.graph, test)).accuracy).toBeLessThan(30);
  });

  it("asks for labels", async () => {
    const first = await untrained(plan.blueprint, runtime, 0);
    await expect(learn(first, { ...train, labelled: false }, plan.lessons, { runtime, seed: 0 })).rejects.toThrow(
      "expected labels to learn from",
    );
  });
});

describe("a trained model", () => {
  const short: CoursePlan = { ...plan, lessons: { ...plan.lessons, epochs: 1 } };

  async function follow(course: CoursePlan, data: IndexedDataset, seed: number) {
    let updates = 0;
    const options: SchoolOptions = { runtime, cache, seed, progress: () => updates++ };
    const model = await schooled("small", course, data, options);
    return { updates, model };
  }

  it("is trained once, and again only where something that decides it is different", async () => {
    const one = await follow(short, train, 0);
    const again = await follow(short, train, 0);
    expect([one.updates, again.updates]).toEqual([20, 0]);
    for (const [name, ref] of one.model.onnx.graph.constants) {
      const other = again.model.onnx.graph.constants.get(name) ?? expect.fail(name);
      expect((await load(other)).bytes).toEqual((await load(ref)).bytes);
    }
    expect((await follow(short, train, 1)).updates).toBe(20);
    expect((await follow(short, pictures("train", 608), 0)).updates).toBe(19);
    const other: CoursePlan = { ...short, lessons: { ...short.lessons, rate: 4e-3 } };
    expect((await follow(other, train, 0)).updates).toBe(20);
    const wider: CoursePlan = {
      ...short,
      blueprint: { ...short.blueprint, graph: () => mlp({ picture: [1, 28, 28], widths: [33], classes: 10 }) },
    };
    expect((await follow(wider, train, 0)).updates).toBe(20);
    expect(readdirSync(cache).filter((name) => /^small-[0-9a-f]{16}\.onnx$/.test(name)).length).toBe(5);
  });
});
