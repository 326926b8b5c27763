import { afterAll, describe, expect, it } from "vitest";
import { criterionNamed } from "../../criteria/registry.ts";
import { fromTensors } from "../../data/from-tensors.ts";
import { float } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { analyse } from "../../models/analysis.ts";
import { evaluate } from "../../runtime/evaluate.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { load, sizeOf } from "../../tensor/tensor.ts";
import { freeGroups, scoreUnits } from "./score-units.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

const [samples, inputs, hidden, classes] = [16, 3, 4, 3];

function noise(label: string, shape: readonly number[], shift = 0) {
  const values = new Float32Array(sizeOf(shape));
  random(12, label).fillNormal(values, shift, 0.5);
  return float32Tensor(shape, values);
}

/** x · w1 + b1, a norm with running statistics, a hidden unit's slope, and w2. */
function network(): Graph {
  const g = builder("net", 17);
  const of = (name: string, shape: readonly number[], shift = 0): string => g.constant(noise(name, shape, shift), name);
  const x = g.input("x", "f32", ["n", inputs]);
  const first = g.op("Gemm", [x, of("w1", [inputs, hidden]), of("b1", [hidden])]);
  const vectors = [of("scale", [hidden], 1), of("shift", [hidden]), of("mean", [hidden])];
  const variance = g.constant(float32Tensor([hidden], Float32Array.of(1, 0.5, 2, 1.5)), "variance");
  const norm = g.op("BatchNormalization", [first, ...vectors, variance], { epsilon: float(1e-5) });
  g.output(g.op("MatMul", [g.op("Sigmoid", [norm]), of("w2", [hidden, classes])], {}, "y"), "f32");
  return g.finish();
}

const x = noise("data", [samples, inputs]);
const labels = Int32Array.from({ length: samples }, (_, i) => i % classes);
const data = fromTensors(new Map([["x", x]]), labels, "noise");

async function lossOf(graph: Graph): Promise<number> {
  const y = toFloat32((await evaluate(runtime, graph, ["y"], new Map([["x", x]]))).get("y") ?? expect.fail());
  let sum = 0;
  for (const [i, label] of labels.entries()) {
    const row = y.subarray(i * classes, (i + 1) * classes);
    sum += Math.log(row.reduce((total, value) => total + Math.exp(value), 0)) - (row[label] ?? 0);
  }
  return sum / samples;
}

/** The slope of the loss when the part of a parameter that belongs to a unit is scaled. */
async function slopeOf(name: string, unit: number): Promise<number> {
  const graph = network();
  const ref = graph.constants.get(name) ?? expect.fail();
  const values = toFloat32(await load(ref));
  const own = (i: number): boolean =>
    (name === "w1" ? i % hidden : name === "w2" ? Math.floor(i / classes) : i) === unit;
  const at = async (factor: number): Promise<number> => {
    const scaled = float32Tensor(
      ref.shape,
      values.map((value, i) => (own(i) ? factor * value : value)),
    );
    const { dtype, shape, bytes } = scaled;
    return lossOf({ ...graph, constants: new Map(graph.constants).set(name, { dtype, shape, resident: bytes }) });
  };
  return ((await at(1.02)) - (await at(0.98))) / 0.04;
}

async function scoresBy(id: string, graph = network()): Promise<Float64Array> {
  const analysis = await analyse(graph, runtime);
  const scores = await scoreUnits(
    analysis,
    freeGroups(analysis, () => false),
    criterionNamed(id),
    data,
    {
      ...{ runtime, batchSize: 8 },
      scores: { members: "all", reduce: "sum", normalise: "none" },
    },
  );
  const [only, ...others] = scores.values();
  expect(others).toEqual([]);
  return only ?? expect.fail();
}

describe("gradients of a unit", () => {
  const members = ["w1", "b1", "scale", "shift", "w2"];

  it("count its weights, its bias and its place in a norm, each as a whole; not what data has made", async () => {
    const scores = await scoresBy("taylor");
    for (const [unit, score] of scores.entries()) {
      let expected = 0;
      for (const name of members) expected += Math.abs(await slopeOf(name, unit));
      expect(Math.abs(score - expected)).toBeLessThan(0.02 * expected + 2e-5);
      // Without the vectors something would be missing.
      const matrices = Math.abs(await slopeOf("w1", unit)) + Math.abs(await slopeOf("w2", unit));
      expect(score).toBeGreaterThan(1.05 * matrices);
      expect(Math.abs(await slopeOf("mean", unit))).toBeGreaterThan(0);
    }
  });

  it("of every gradient criterion rank units at all", async () => {
    for (const id of ["snip", "grasp", "crop", "fisher", "hessian", "taylor-sample", "taylor-signed", "synflow"]) {
      const scores = await scoresBy(id);
      expect(new Set(scores).size).toBe(hidden);
    }
  });
});

it("scores with a sign keep their order in a group whose mean is negative", async () => {
  const analysis = await analyse(network(), runtime);
  const groups = freeGroups(analysis, () => false);
  const orderOf = async (normalise: "none" | "mean" | "sum" | "max" | "standardise", flip: number) => {
    const base = criterionNamed("l1");
    const signed = {
      ...base,
      features: (...given: Parameters<typeof base.features>) => base.features(...given)?.map((s) => flip * s) ?? null,
    };
    const scores = { members: "all", reduce: "sum", normalise } as const;
    const [found] = (await scoreUnits(analysis, groups, signed, null, { runtime, batchSize: 8, scores })).values();
    return [...(found ?? []).keys()].sort((a, b) => (found?.[a] ?? 0) - (found?.[b] ?? 0));
  };
  for (const normalise of ["mean", "sum", "max", "standardise"] as const) {
    for (const flip of [1, -1]) expect(await orderOf(normalise, flip)).toEqual(await orderOf("none", flip));
  }
});
