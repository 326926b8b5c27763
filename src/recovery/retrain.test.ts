import { afterAll, describe, expect, it } from "vitest";
import type { Group } from "../coupling/couple.ts";
import { fromTensors } from "../data/from-tensors.ts";
import { int } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { analyse } from "../models/analysis.ts";
import { evaluate } from "../runtime/evaluate.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { cut } from "../surgery/cut.ts";
import { keptPositions } from "../surgery/kept.ts";
import { converted, float32Tensor, fromFloats, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { type HostTensor, load } from "../tensor/tensor.ts";
import { sgd } from "../train/optimisers/sgd.ts";
import type { TrainingRecord } from "../train/training-record.ts";
import { distill } from "./distill.ts";
import { finetune } from "./finetune.ts";
import { lowRankUpdates, perp } from "./perp.ts";
import type { Recovery, RecoveryContext } from "./recovery.ts";
import { teacherFor } from "./teacher.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

const [inputs, width, classes, count] = [6, 24, 4, 256];

function noise(label: string, length: number, scale = 1): Float32Array {
  const values = new Float32Array(length);
  random(9, "retrain", label).fillNormal(values, 0, scale);
  return values;
}

/** x + two layers, then a head: the second layer flows into a sum. */
function network(dtype: "f32" | "f16" = "f32"): Graph {
  const g = builder("net", 17);
  const constant = (name: string, shape: readonly number[], scale: number) =>
    g.constant(
      fromFloats(
        dtype,
        shape,
        noise(
          name,
          shape.reduce((a, b) => a * b, 1),
          scale,
        ),
      ),
      name,
    );
  g.input("x", dtype, ["n", inputs]);
  const gemm = (from: string, name: string, a: number, b: number) =>
    g.op(
      "Gemm",
      [from, constant(`${name}.weight`, [a, b], 1.5 / Math.sqrt(a)), constant(`${name}.bias`, [b], 0.3)],
      {},
      `${name}.y`,
    );
  const inner = g.op("Relu", [gemm("x", "first", inputs, width)], {}, "inner");
  const sum = g.op("Add", ["x", gemm(inner, "second", width, inputs)], {}, "sum");
  g.output(
    g.op(
      "Gemm",
      [sum, constant("head.weight", [inputs, classes], 1), constant("head.bias", [classes], 0.1)],
      {},
      "logits",
    ),
    dtype,
    ["n", classes],
  );
  return g.finish();
}

function samples(dtype: "f32" | "f16" = "f32", labels?: ArrayLike<number>) {
  return fromTensors({ x: fromFloats(dtype, [count, inputs], noise("x", count * inputs)) }, labels);
}

async function answers(graph: Graph, data = samples()): Promise<Float32Array> {
  const { inputs: feeds } = await data.gather(Int32Array.from({ length: count }, (_, i) => i));
  return toFloat32((await evaluate(runtime, graph, ["logits"], feeds)).get("logits") ?? expect.fail());
}

async function distance(a: Graph, b: Graph, data = samples()): Promise<number> {
  const [x, y] = [await answers(a, data), await answers(b, data)];
  return x.reduce((sum, value, i) => sum + (value - (y[i] ?? 0)) ** 2, 0) / x.length;
}

/** Half of the inner units cut. */
async function narrowed(graph = network(), data = samples()): Promise<RecoveryContext> {
  const original = await analyse(graph, runtime);
  const group = original.coupling.groups.find(({ size, blocked }) => size === width && blocked.length === 0);
  const mask = Uint8Array.from({ length: width }, (_, i) => i % 2);
  const masks = new Map<Group, Uint8Array>([[group ?? expect.fail(), mask]]);
  const pruned = await cut(graph, original.coupling, original.facts, masks);
  return {
    runtime,
    original,
    kept: keptPositions(original.coupling, masks),
    pruned,
    calibration: data,
    training: data,
    batchSize: 64,
    job: busy,
  };
}

/** Two thirds of the weights of the first layer set to zero. */
async function sparse(dtype: "f32" | "f16" = "f32"): Promise<RecoveryContext> {
  return zeroed(network(dtype), "first.weight", samples(dtype));
}

async function zeroed(graph: Graph, name: string, data = samples()): Promise<RecoveryContext> {
  const original = await analyse(graph, runtime);
  const weight = await load(graph.constants.get(name) ?? expect.fail());
  const values = Float32Array.from(toFloat32(weight), (n, i) => (i % 3 === 0 ? n : 0));
  const zeros = converted(float32Tensor(weight.shape, values), weight.dtype);
  const constants = new Map(graph.constants).set(name, { ...zeros, resident: zeros.bytes });
  const kept = keptPositions(original.coupling, new Map());
  return {
    runtime,
    original,
    kept,
    pruned: { ...graph, constants },
    calibration: data,
    training: data,
    batchSize: 32,
    job: busy,
  };
}

/** What a pipeline hands on as a job has settings of its own, which are not the training's. */
const busy = { signal: new AbortController().signal, batchSize: 7, seed: 7 };

const settings = { length: { epochs: 15 }, batchSize: 32, rate: 0.03 } as const;

async function weights(graph: Graph, name: string): Promise<HostTensor> {
  return load(graph.constants.get(name) ?? expect.fail(name));
}

describe("distillation", () => {
  it("brings a cut graph nearer to the original, by answers, by features, and by both", async () => {
    const context = await narrowed();
    const before = await distance(context.original.graph, context.pruned);
    const records: TrainingRecord[] = [];
    const record = (done: TrainingRecord) => records.push(done);
    for (const only of [{ features: 0 }, { answers: 0 }, {}]) {
      const after = await distill({ settings, temperature: 1, ...only }).apply({ ...context, record });
      expect(await distance(context.original.graph, after)).toBeLessThan(0.5 * before);
    }
    const [answersOnly, featuresOnly, both] = records.map(({ points }) => Object.keys(points[0]?.values ?? {}).sort());
    expect(answersOnly).toEqual(["answers", "loss"]);
    expect(featuresOnly).toEqual(["features", "loss"]);
    expect(both).toEqual(["answers", "features", "loss"]);
    expect(records[0]).toMatchObject({ name: "distill", updates: 120, epochs: 15, samples: 120 * 32 });
    expect(records[0]?.trained).toBe(records[0]?.trainable);
    expect(records[0]?.backwardMacs).toBeGreaterThan(0.3 * (records[0]?.forwardMacs ?? Number.POSITIVE_INFINITY));
  });

  it("compares what the kept units were: others differ", async () => {
    const context = await inner(await narrowed());
    const differ = async (kept: RecoveryContext["kept"]): Promise<boolean> => {
      const pruned = await analyse(context.pruned, runtime);
      const { graph, lessons } = await teacherFor({ ...context, kept }, pruned, samples(), true);
      const lesson = lessons.find(({ found }) => found === "first.y") ?? expect.fail();
      const { inputs: feeds } = await samples().gather(Int32Array.of(0, 1, 2));
      const values = await evaluate(runtime, graph, [lesson.found, lesson.target], feeds);
      return (
        Buffer.compare(
          values.get(lesson.found)?.bytes ?? expect.fail(),
          values.get(lesson.target)?.bytes ?? expect.fail(),
        ) !== 0
      );
    };
    const wrong: RecoveryContext["kept"] = {
      ...context.kept,
      positions: (value, axis) => context.kept.positions(value, axis)?.map((i) => i - 1) ?? null,
    };
    expect(await differ(context.kept)).toBe(false);
    expect(await differ(wrong)).toBe(true);
  });

  it("leaves the original as it was", async () => {
    const context = await narrowed();
    const before = await weights(context.original.graph, "second.weight");
    const copy = Uint8Array.from(before.bytes);
    await distill({ settings }).apply(context);
    expect((await weights(context.original.graph, "second.weight")).bytes).toEqual(copy);
  });

  it("gives the same bytes for a seed, others for another", async () => {
    const context = await narrowed();
    const bytes = async (seed: number) =>
      (
        await weights(
          await distill({ settings: { ...settings, length: { updates: 8 } } }).apply({ ...context, seed }),
          "first.weight",
        )
      ).bytes;
    expect(await bytes(1)).toEqual(await bytes(1));
    expect(await bytes(1)).not.toEqual(await bytes(2));
  });
});

/** The same without the sum, so that inner units are compared. */
async function inner(context: RecoveryContext): Promise<RecoveryContext> {
  const cutOff = (graph: Graph): Graph => ({
    ...graph,
    nodes: graph.nodes.map((node) =>
      node.op === "Add" ? { ...node, op: "Identity", inputs: node.inputs.slice(1) } : node,
    ),
  });
  const original = await analyse(cutOff(context.original.graph), runtime);
  return { ...context, original, pruned: cutOff(context.pruned) };
}

const everyWay: readonly (readonly [string, Recovery])[] = [
  ["distill", distill({ settings, temperature: 1 })],
  ["perp", perp({ settings, temperature: 1 })],
  ["lora", lowRankUpdates({ settings, temperature: 1 })],
  ["finetune", finetune({ settings })],
];

describe.each(["f32", "f16"] as const)("what is zero stays zero: %s", (dtype) => {
  it.each(everyWay)("%s", async (_, recovery) => {
    const context = await sparse(dtype);
    const before = await distance(context.original.graph, context.pruned, samples(dtype));
    const reference = await answers(context.original.graph, samples(dtype));
    const labels = Int32Array.from({ length: count }, (_, i) => {
      const row = reference.subarray(i * classes, (i + 1) * classes);
      return row.indexOf(Math.max(...row));
    });
    const data = samples(dtype, labels);
    const after = await recovery.apply({ ...context, training: data });
    const found = await weights(after, "first.weight");
    expect(found.dtype).toBe(dtype);
    const values = toFloat32(found);
    const given = toFloat32(await weights(context.pruned, "first.weight"));
    for (const [i, value] of values.entries()) expect(value === 0).toBe(given[i] === 0);
    if (recovery.id !== "perp") expect(values.some((value, i) => value !== given[i])).toBe(true);
    else expect(values).toEqual(given);
    if (recovery.id === "finetune") {
      const right = async (graph: Graph) => {
        const y = await answers(graph, samples(dtype));
        return labels.filter((label, i) => {
          const row = y.subarray(i * classes, (i + 1) * classes);
          return row.indexOf(Math.max(...row)) === label;
        }).length;
      };
      expect(await right(after)).toBeGreaterThan((await right(context.pruned)) + count / 20);
    } else expect(await distance(context.original.graph, after, samples(dtype))).toBeLessThan(0.7 * before);
    expect([...after.constants.keys()].sort()).toEqual([...context.pruned.constants.keys()].sort());
    expect(after.nodes).toBe(context.pruned.nodes);
  });
});

it("weights stored in half floats learn from slopes below the smallest half float, as float32 does", async () => {
  const faint = (dtype: "f32" | "f16"): Graph => {
    const g = builder("faint", 17);
    g.input("x", "f32", ["n", inputs]);
    const stored = g.constant(fromFloats(dtype, [inputs, classes], noise("faint", inputs * classes)), "w");
    const y = g.op("MatMul", ["x", g.op("Cast", [stored], { to: int(1) })]);
    g.output(g.op("Mul", [y, g.float32([3e-5], [1], "scale")], {}, "logits"), "f32", ["n", classes]);
    return g.finish();
  };
  // As steep as the answers are faint: they differ by 3e-5, which counts as much.
  const steep = { ...settings, rate: 3e8, optimiser: () => sgd({ momentum: 0 }) };
  const learnt = async (dtype: "f32" | "f16"): Promise<readonly [Float32Array, Float32Array]> => {
    const context = await zeroed(faint(dtype), "w");
    const after = await distill({ settings: steep, features: 0, temperature: 1 }).apply(context);
    return [toFloat32(await weights(context.pruned, "w")), toFloat32(await weights(after, "w"))];
  };
  const [[start, half], [, single]] = [await learnt("f16"), await learnt("f32")];
  const apart = (a: Float32Array, b: Float32Array) => Math.max(...a.map((n, i) => Math.abs(n - (b[i] ?? 0))));
  expect(apart(start, single)).toBeGreaterThan(0.1);
  expect(apart(half, single)).toBeLessThan(0.01);
});

describe("parts", () => {
  it("perp trains norms, biases and the head, and nothing else", async () => {
    const context = await narrowed();
    const records: TrainingRecord[] = [];
    const after = await perp({ settings }).apply({ ...context, record: (done) => records.push(done) });
    for (const name of ["first.weight", "second.weight"])
      expect(await weights(after, name)).toEqual(await weights(context.pruned, name));
    for (const name of ["first.bias", "second.bias", "head.weight", "head.bias"]) {
      expect(await weights(after, name)).not.toEqual(await weights(context.pruned, name));
    }
    expect(records[0]?.trained).toBe(width / 2 + inputs + inputs * classes + classes);
  });

  it("what is frozen stays", async () => {
    const context = await narrowed();
    const after = await distill({ settings, frozen: (name) => name.startsWith("first") }).apply(context);
    expect(await weights(after, "first.weight")).toEqual(await weights(context.pruned, "first.weight"));
    expect(await weights(after, "second.weight")).not.toEqual(await weights(context.pruned, "second.weight"));
    await expect(distill({ settings, frozen: () => true }).apply(context)).rejects.toThrow(
      "expected at least one parameter to train, got none",
    );
  });
});

describe("what cannot be done is said", () => {
  it.each([
    ["no inputs", { training: null }, /recovery finetune: expected inputs to train on, got none\. .*--train/],
    ["no labels", {}, /expected labels for recovery finetune, got none\. .*distill/],
  ] as const)("%s", async (_, changes, message) => {
    const context = { ...(await narrowed()), ...changes };
    await expect(finetune({ settings }).apply(context)).rejects.toThrow(message);
  });

  it("labels beyond the classes", async () => {
    const data = samples("f32", new Int32Array(count).fill(classes));
    await expect(finetune({ settings }).apply({ ...(await narrowed()), training: data })).rejects.toThrow(
      `expected labels below ${classes}, the classes of output "logits", got ${classes}`,
    );
  });

  it("an operator without a gradient, before anything is pruned", async () => {
    const g = builder("net", 17);
    g.input("x", "f32", ["n", 4]);
    const y = g.op("MatMul", ["x", g.constant(float32Tensor([4, 4], noise("w", 16)), "w")]);
    g.output(g.op("Det", [g.op("Reshape", [y, g.int64([-1, 2, 2])])], {}, "y"), "f32", ["n"]);
    const original = await analyse(g.finish(), runtime);
    await expect(distill().check?.({ runtime, original })).rejects.toThrow(
      /expected operators with a gradient .* got 1 without: Det/,
    );
    await expect(distill().check?.({ runtime, original: await analyse(network(), runtime) })).resolves.toBeUndefined();
  });

  it("a rate that is too large", async () => {
    const wild = { ...settings, rate: 1e30 };
    await expect(distill({ settings: wild }).apply(await narrowed())).rejects.toThrow(
      /update \d+: expected finite numbers/,
    );
  });
});
