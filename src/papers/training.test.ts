import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../data/from-tensors.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { analyse } from "../models/analysis.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { type SparseTraining, trainSparse } from "../sparsify/training/train-sparse.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { load } from "../tensor/tensor.ts";
import { crossEntropy } from "../train/objectives/losses.ts";
import { trainable } from "../train/parameters/trainable.ts";
import { gradualMagnitude } from "./gradual-magnitude.ts";
import { trainingPapers } from "./registry.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

function network(): Graph {
  const g = builder("net");
  const weights = (shape: number[], name: string): string => {
    const values = new Float32Array(shape.reduce((n, dim) => n * dim, 1));
    random(3, name).fillNormal(values, 0, 0.5);
    return g.float32([...values], shape, name);
  };
  g.input("x", "f32", ["n", 8]);
  const hidden = g.op("Tanh", [g.op("MatMul", ["x", weights([8, 24], "w1")])]);
  g.output(g.op("MatMul", [hidden, weights([24, 3], "w2")], {}, "logits"), "f32", ["n", 3]);
  return g.finish();
}

const points = new Float32Array(64 * 8);
random(5, "points").fillNormal(points);
const labels = Int32Array.from({ length: 64 }, (_, i) => ((points[8 * i] ?? 0) > 0 ? 1 : 0));
const data = fromTensors(new Map([["x", float32Tensor([64, 8], points)]]), labels, "points");

async function trainedBy(plan: SparseTraining, epochs: number) {
  const graph = network();
  const { matrices } = await analyse(graph, runtime);
  return trainSparse({
    ...{ runtime, graph, data, matrices, plan, seed: 1, batchSize: 16, labels: "labels" },
    length: { epochs },
    rate: 0.02,
    parameters: await trainable(graph, matrices),
    objective: ({ g, outputs: [y], input }) => crossEntropy(g, y ?? expect.fail(), input("labels", "i32", [16])),
  });
}

/** All weights of matrices after a short training by a plan. */
async function weightsAfter(plan: SparseTraining): Promise<Float32Array> {
  const trained = await trainedBy(plan, 3);
  const all: number[] = [];
  for (const name of ["w1", "w2"]) {
    all.push(...toFloat32(await load(trained.graph.constants.get(name) ?? expect.fail())));
  }
  return Float32Array.from(all);
}

const zeros = (weights: Float32Array): number => weights.filter((w) => w === 0).length;

describe.each(trainingPapers.map((paper) => [paper.id, paper] as const))("%s", (_, paper) => {
  /** Each round is a whole training: a few show what there is to see. */
  const few = "rounds" in paper.options ? { rounds: 3 } : {};
  const settings = [
    {},
    ...Object.entries(paper.options).flatMap(([name, { words, initial }]) =>
      words.filter((word) => word !== initial).map((word) => ({ [name]: word })),
    ),
  ];

  it("says what it is, and refuses settings that it does not have", () => {
    for (const text of [paper.summary, paper.golden, paper.reproductions[0].claim, ...paper.departures])
      expect(text).toMatch(/\.$/);
    expect(paper.record.when).not.toEqual([]);
    expect(paper.record.data).toContain("training set");
    expect(paper.record.weightUpdate).toBe(true);
    expect(() => paper.plan({ sparsety: 0.5 })).toThrow('Did you mean "sparsity"?');
  });

  it.each(settings.map((one) => [JSON.stringify(one), one] as const))(
    "meets its sparsity: %s",
    async (_name, given) => {
      const plan = paper.plan({ ...few, ...given, sparsity: 0.8 });
      const weights = await weightsAfter(plan);
      const pattern = plan.kind === "soft" ? plan.masks.pattern : null;
      const share = pattern?.kind === "n:m" ? 1 - pattern.keep / pattern.of : 0.8;
      // One weight in each of two layers, rounded.
      expect(Math.abs(zeros(weights) - share * weights.length)).toBeLessThanOrEqual(2);
    },
  );

  it("gives the same bytes for the same seed", async () => {
    const plan = paper.plan({ ...few, sparsity: 0.7 });
    expect(await weightsAfter(plan)).toEqual(await weightsAfter(plan));
  });
});

it("a plan that removes less is caught", async () => {
  const [paper] = trainingPapers;
  const weights = await weightsAfter(paper?.plan({ sparsity: 0.6 }) ?? expect.fail());
  expect(Math.abs(zeros(weights) - 0.8 * weights.length)).toBeGreaterThan(2);
});

it("gradual-magnitude rises through the sparsities of its paper, in a training", async () => {
  const plan = gradualMagnitude.plan({ sparsity: 0.9, from: 0, until: 1 });
  const { journal } = await trainedBy(plan, 5);
  const at = (share: number) => journal.find(({ update }) => update === share * 20)?.sparsity;
  // Each of two layers rounds to a whole weight.
  for (const [fifth, sparsity] of [0.4392, 0.7056, 0.8424, 0.8928, 0.9].entries())
    expect(Math.abs((at((fifth + 1) / 5) ?? 0) - sparsity)).toBeLessThan(1 / 140);
});
