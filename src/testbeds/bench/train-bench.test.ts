import { afterAll, describe, expect, it } from "vitest";
import {
  asLongAs,
  type Measurement,
  type Phase,
  type TrainedDraw,
  type TrainingComparison,
} from "../../claims/reproduction.ts";
import { snip } from "../../criteria/gradients/taylor.ts";
import { fromTensors } from "../../data/from-tensors.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { modelFrom } from "../../models/model.ts";
import { sparse, structured } from "../../plans/methods.ts";
import type { Plan } from "../../plans/plan.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { gradualMagnitude } from "../../sparsify/training/programmes.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { load } from "../../tensor/tensor.ts";
import { redrawn } from "../courses.ts";
import type { Blueprint } from "../models/blueprints.ts";
import type { Course, Testbed } from "../testbed.ts";
import { benchOn } from "./bench.ts";
import { followPhases } from "./phases.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

/** Pictures x [n, 1, 2, 2] to logits [n, 2] by a hidden layer of 12. */
const blueprint: Blueprint = {
  scheme: "kaiming-normal",
  graph: () => {
    const g = builder("net");
    const zeros = (shape: readonly number[], name: string): string =>
      g.constant(float32Tensor(shape, new Float32Array(shape.reduce((n, dim) => n * dim, 1))), name);
    const x = g.op("Flatten", [g.input("x", "f32", ["n", 1, 2, 2])]);
    const hidden = g.op("Relu", [g.op("Gemm", [x, zeros([4, 12], "w1"), zeros([12], "b1")])]);
    g.output(g.op("MatMul", [hidden, zeros([12, 2], "w2")], {}, "logits"), "f32", ["n", 2]);
    return g.finish();
  },
};

const data = (count: number, seed: number) => {
  const points = new Float32Array(count * 4);
  random(seed, "points").fillNormal(points);
  const labels = Int32Array.from({ length: count }, (_, i) => ((points[4 * i] ?? 0) > 0 ? 1 : 0));
  return fromTensors(new Map([["x", float32Tensor([count, 1, 2, 2], points)]]), labels, "points");
};

const course: Course = {
  train: data(64, 5),
  lessons: {
    ...{ epochs: 4, batchSize: 16, optimiser: "adamW", rate: 0.02, warmUp: 0.1, decay: 0, smoothing: 0 },
    jitter: { pad: 0, flip: false },
  },
  more: [],
  untrained: (run, seed) => redrawn(blueprint, blueprint.graph(), run, seed),
  redrawn: (graph, run, seed) => redrawn(blueprint, graph, run, seed),
};

const blank = { producerName: "", producerVersion: "", domain: "", modelVersion: 0n, doc: "", metadata: new Map() };
const testbed: Testbed = {
  id: "points",
  description: "points",
  model: modelFrom("points.onnx", { ...blank, graph: blueprint.graph(), irVersion: 8, unknown: [] }),
  pool: data(16, 6),
  test: data(100, 7),
  noise: (count, seed) => data(count, seed),
  course,
};

const follow = (phases: readonly Phase[], seed = 0) =>
  followPhases(testbed, course, phases, { runtime, seed, epochs: 4 });

async function weightsOf(graph: Graph, name = "w1"): Promise<Float32Array> {
  return toFloat32(await load(graph.constants.get(name) ?? expect.fail()));
}

const places = (values: Float32Array): string => Array.from(values, (v) => (v === 0 ? "." : "x")).join("");
const train: Phase = { kind: "train" };
const cut = (plan: Plan): Phase => ({ kind: "prune", plan });
const half = cut(sparse({ sparsity: 0.5 }));
const narrow = cut(structured({ keepMacs: 0.5, scope: "global" }));
const macs = ({ cost }: Pick<Measurement, "cost">): number => cost.forwardMacs + cost.backwardMacs;

describe("phases", () => {
  it("pruned before training: what goes is chosen from the first parameters and stays zero", async () => {
    const [before, after] = [await follow([half]), await follow([half, train])];
    expect(places(await weightsOf(after.graph))).toBe(places(await weightsOf(before.graph)));
    expect(places(await weightsOf(after.graph)).replaceAll("x", "")).toHaveLength(24);
    expect(await weightsOf(after.graph)).not.toEqual(await weightsOf(before.graph));
    // Another place in the order is another choice.
    const later = await follow([train, half]);
    expect(places(await weightsOf(later.graph))).not.toBe(places(await weightsOf(after.graph)));
  });

  it("a criterion that needs gradients looks at the training set, and its work is counted", async () => {
    const [plain, seen] = [
      await follow([half, train]),
      await follow([cut(sparse({ criterion: snip(), scope: "global", sparsity: 0.5 })), train]),
    ];
    expect(macs(seen)).toBeGreaterThan(macs(plain));
    expect(places(await weightsOf(seen.graph))).not.toBe(places(await weightsOf(plain.graph)));
  });

  it("drawn anew, masks stay and the weights are others", async () => {
    const [own, other] = [await follow([train, half, train]), await follow([train, half, { kind: "redraw" }, train])];
    expect(places(await weightsOf(other.graph))).toBe(places(await weightsOf(own.graph)));
    expect(await weightsOf(other.graph)).not.toEqual(await weightsOf(own.graph));
    const moved = places(await weightsOf((await follow([train, half, { kind: "redraw", places: true }, train])).graph));
    expect(moved).not.toBe(places(await weightsOf(own.graph)));
    expect(moved.replaceAll("x", "")).toHaveLength(24);
  });

  it("a cut network trains for as much as went before, in more updates", async () => {
    const [dense, scratch, both] = [
      await follow([train]),
      await follow([train, narrow, { kind: "redraw" }, train]),
      await follow([train, narrow, { kind: "redraw" }, { kind: "train", length: "as before" }]),
    ];
    expect(await weightsOf(both.graph)).toHaveLength(24);
    // One update less than twice the compute at most; the cut network takes twice as many.
    expect(macs(both) / macs(dense)).toBeGreaterThan(1.9);
    expect(macs(both) / macs(dense)).toBeLessThanOrEqual(2.05);
    expect(macs(scratch) / macs(dense)).toBeLessThan(1.6);
    expect(both.cost.samples).toBeGreaterThan(scratch.cost.samples);
  });

  it("two halves of the schedule are as long as the whole", async () => {
    const [whole, halves] = [
      await follow([train]),
      await follow([
        { kind: "train", length: 0.5, part: [0, 0.5] },
        { kind: "train", length: 0.5, part: [0.5, 1] },
      ]),
    ];
    expect(macs(halves)).toBe(macs(whole));
  });
});

const rounds = {
  kind: "rounds",
  scope: "uniform",
  rounds: 2,
  rewind: { weights: 0, schedule: 0 },
} as const;
const comparison: TrainingComparison = {
  removed: [0.75],
  arms: {
    ticket: ({ removed }) => ({ ...rounds, sparsity: removed }),
    gradual: ({ removed }) => ({ kind: "programme", programme: gradualMagnitude({ sparsity: removed, changes: 4 }) }),
    "before training": ({ removed }) => [cut(sparse({ sparsity: removed })), train],
  },
  expect: [
    { better: "ticket", than: "random, static", at: [0.75], by: 0 },
    { better: "gradual", than: asLongAs("gradual"), at: [0.75], by: -100 },
  ],
};

/** An arm, and the control that has its compute; fails where it has not. */
function expectSameCompute(measurements: readonly Measurement[], name: string, control = asLongAs(name)): void {
  const [arm, other] = [name, control].map((one) => measurements.find((found) => found.arm === one) ?? expect.fail());
  expect(Math.abs(macs(other ?? expect.fail()) / macs(arm ?? expect.fail()) - 1)).toBeLessThan(0.07);
}

describe("a comparison of trainings", () => {
  it("has every arm, baselines, and controls with the compute of what should be better", async () => {
    const { measurements, checks, controls } = await benchOn(testbed, { runtime, draws: 2 }).train(comparison);
    expect(measurements.map(({ arm }) => arm)).toEqual([
      ...["dense", "random, static", "global magnitude, halfway", "ticket", "gradual", "before training"],
      ...[asLongAs("ticket"), asLongAs("gradual")],
    ]);
    for (const { arm, really, macsLeft } of measurements) {
      expect(really).toBeCloseTo(arm === "dense" ? 0 : 0.75, 2);
      expect(macsLeft).toBeCloseTo(1 - really, 10);
    }
    const [dense, ticket] = ["dense", "ticket"].map((name) => measurements.find(({ arm }) => arm === name));
    expect(macs(ticket ?? expect.fail()) / macs(dense ?? expect.fail())).toBe(3);
    expectSameCompute(measurements, "ticket");
    // What takes as long as the control is not trained twice.
    const plain = measurements.find(({ arm }) => arm === "global magnitude, halfway");
    expect(measurements.find(({ arm }) => arm === asLongAs("gradual"))?.accuracy).toEqual(plain?.accuracy);
    expect(controls.map(({ expectation }) => expectation.than)).toEqual([asLongAs("ticket"), asLongAs("gradual")]);
    expect(checks.at(-1)).toMatchObject({ holds: true, difference: controls.at(-1)?.difference });
    // The suite would notice a control that is not stretched.
    expect(() => expectSameCompute(measurements, "ticket", "global magnitude, halfway")).toThrow();
  });

  it("goes on from what a journal has, with more draws too, and finds the same", async () => {
    const kept = new Map<string, TrainedDraw>();
    let added = 0;
    const journal = {
      get: (key: string) => kept.get(key),
      add: async (key: string, value: TrainedDraw) => {
        added++;
        kept.set(key, value);
      },
    };
    const run = (draws: number, more = {}) => benchOn(testbed, { runtime, draws, ...more }).train(comparison);
    const [alone, first] = [await run(2), await run(1, { journal })];
    // One training of each arm, of the dense one, and of the control that is longer.
    expect([first.measurements.length, added]).toEqual([8, 7]);
    const both = await run(2, { journal });
    expect(added).toBe(14);
    expect(both.measurements.map(({ accuracy }) => accuracy)).toEqual(
      alone.measurements.map(({ accuracy }) => accuracy),
    );
    await run(2, { journal });
    expect(added).toBe(14);
  });

  it("by multiply-accumulates cuts units", async () => {
    const { measurements, budget } = await benchOn(testbed, { runtime, draws: 1 }).train({
      ...{ budget: "macs", removed: [0.5], arms: { narrow: () => [narrow, train] } },
      expect: [{ better: "narrow", than: "random, static", at: [0.5], by: 0 }],
    });
    expect(budget).toBe("macs");
    for (const { arm, really } of measurements) expect(really).toBe(arm === "dense" ? 0 : 0.5);
    expectSameCompute(measurements, "narrow");
  });
});
