import { afterAll, describe, expect, it } from "vitest";
import type { Group } from "../coupling/couple.ts";
import { withConstant } from "../criteria/parameters.ts";
import { fromTensors } from "../data/from-tensors.ts";
import { int, ints } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import { edit } from "../graph/edit.ts";
import type { Graph } from "../graph/graph.ts";
import { analyse } from "../models/analysis.ts";
import { evaluate } from "../runtime/evaluate.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { dropBranches } from "../surgery/bypass.ts";
import { cut } from "../surgery/cut.ts";
import { keptPositions, through } from "../surgery/kept.ts";
import { isFloat } from "../tensor/dtype.ts";
import { float32Tensor, fromFloats, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { load } from "../tensor/tensor.ts";
import { biasCompensation } from "./bias.ts";
import { foldConstants } from "./fold.ts";
import { leastSquares } from "./lsq.ts";
import { none } from "./none.ts";
import { normEstimation } from "./norm.ts";
import { lowRankUpdates } from "./perp.ts";
import type { Recovery, RecoveryContext } from "./recovery.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

function noise(label: string, length: number, scale = 1, offset = 0): Float32Array {
  const values = new Float32Array(length);
  random(5, "recovery", label).fillNormal(values);
  return values.map((n) => n * scale + offset);
}

const width = 6;
const trunk = 4;

interface Block {
  /** Inner channels whose weights are zero, so that only their norm's offset passes. */
  readonly constant?: readonly number[];
  /** No norms: the convolutions have biases, as after folding. */
  readonly folded?: boolean;
  readonly padded?: boolean;
}

/** x + conv(relu(norm(conv(x)))), normed: a residual block, whose second convolution flows into a sum. */
function block({ constant = [], folded = false, padded = true }: Block = {}): Graph {
  const g = builder("block", 17);
  g.input("x", "f32", ["n", trunk, 6, 6]);
  const conv = (from: string, label: string, out: number, inputs: number, zero: readonly number[], pad: number) => {
    const size = pad === 1 ? 3 : 1;
    const values = noise(label, out * inputs * size * size, 0.4);
    for (const r of zero) values.fill(0, r * inputs * size * size, (r + 1) * inputs * size * size);
    const weight = g.constant(float32Tensor([out, inputs, size, size], values), label);
    const bias = folded ? [g.constant(float32Tensor([out], noise(`${label}b`, out, 0.3)), `${label}_b`)] : [];
    const attributes = { pads: ints([pad, pad, pad, pad]), kernel_shape: ints([size, size]) };
    const y = g.op("Conv", [from, weight, ...bias], attributes, `${label}_y`);
    if (folded) return y;
    const vector = (name: string, scale: number, offset: number) =>
      g.constant(float32Tensor([out], noise(label + name, out, scale, offset)), `${label}_${name}`);
    const parameters = [vector("gain", 0.2, 1), vector("offset", 0.2, 0.5), vector("mean", 0.1, 0)];
    const variance = g.constant(
      float32Tensor(
        [out],
        noise(`${label}v`, out).map((n) => 0.5 + n * n),
      ),
      `${label}_v`,
    );
    return g.op("BatchNormalization", [y, ...parameters, variance], {}, `${label}_n`);
  };
  const inner = g.op("Relu", [conv("x", "first", width, trunk, constant, 1)], {}, "inner");
  g.output(g.op("Add", [conv(inner, "second", trunk, width, [], padded ? 1 : 0), "x"], {}, "y"), "f32", [
    "n",
    null,
    null,
    null,
  ]);
  return g.finish();
}

const images = fromTensors({ x: float32Tensor([24, trunk, 6, 6], noise("x", 24 * trunk * 36)) });

async function pruned(graph: Graph, removed: readonly number[], units = width): Promise<RecoveryContext> {
  const original = await analyse(graph, runtime);
  const group = original.coupling.groups.find(({ size, blocked }) => size === units && blocked.length === 0);
  if (group === undefined) throw new Error("no group");
  const mask = new Uint8Array(units).fill(1);
  for (const unit of removed) mask[unit] = 0;
  const masks = new Map<Group, Uint8Array>([[group, mask]]);
  return {
    runtime,
    original,
    kept: keptPositions(original.coupling, masks),
    pruned: await cut(graph, original.coupling, original.facts, masks),
    calibration: images,
    batchSize: 10,
    job: {},
  };
}

async function outputs(graph: Graph, name = "y"): Promise<Float32Array> {
  const { inputs } = await images.gather(Int32Array.from({ length: 24 }, (_, i) => i));
  const y = (await evaluate(runtime, graph, [name], inputs)).get(name);
  return y === undefined ? new Float32Array(0) : toFloat32(y);
}

/** ‖a − b‖² / n */
async function distance(a: Graph, b: Graph, name = "y"): Promise<number> {
  const [x, y] = [await outputs(a, name), await outputs(b, name)];
  expect(x.length).toBe(y.length);
  return x.reduce((sum, value, i) => sum + (value - (y[i] ?? 0)) ** 2, 0) / x.length;
}

describe.each([
  ["with norms", {}],
  ["with norms folded", { folded: true }],
] as const)("recovery of a residual block %s", (_, kind: Block) => {
  it("gets nearer to the original step by step: none, bias, least squares", async () => {
    const context = await pruned(block(kind), [1, 4]);
    const far = async (recovery: Recovery) => distance(context.original.graph, await recovery.apply(context));
    const plain = await far(none);
    const bias = await far(biasCompensation());
    const lsq = await far(leastSquares());
    expect(plain).toBeGreaterThan(0.01);
    expect(bias).toBeLessThan(plain);
    expect(lsq).toBeLessThan(bias);
  });

  it("finds nearly the same from every so-many-th position, inputs and targets alike", async () => {
    const context = await pruned(block(kind), [1, 4]);
    const all = await leastSquares({ positionsPerColumn: 1e6 }).apply(context);
    const few = await leastSquares({ positionsPerColumn: 5 }).apply(context);
    const best = await distance(context.original.graph, all);
    const near = await distance(context.original.graph, few);
    expect(near).toBeGreaterThan(best);
    // 864 positions, each third of them, for 36 columns: about an eighth more error than the best fit of the same data.
    expect(near / best).toBeLessThan(1.3);
  });

  it("gives the same whatever the batch", async () => {
    const context = await pruned(block(kind), [1, 4]);
    const once = await leastSquares({ damping: 0.1 }).apply(context);
    const again = await leastSquares({ damping: 0.1 }).apply({ ...context, batchSize: 24 });
    expect(await distance(once, again)).toBeLessThan(1e-8);
  });

  it("changes nothing where nothing was removed", async () => {
    const context = await pruned(block(kind), []);
    for (const recovery of [normEstimation(), biasCompensation(), leastSquares()]) {
      expect(await distance(context.original.graph, await recovery.apply(context))).toBeLessThan(1e-10);
    }
  });

  it("gives outputs of norms and convolutions the mean that they had", async () => {
    const context = await pruned(block(kind), [0, 2, 3]);
    const repaired = await normEstimation().apply(context);
    const means = (y: Float32Array) =>
      Array.from({ length: trunk }, (_, c) =>
        y.reduce((sum, value, i) => (Math.floor(i / 36) % trunk === c ? sum + value : sum), 0),
      );
    const before = means(await outputs(context.original.graph));
    const after = means(await outputs(repaired));
    const without = means(await outputs(context.pruned));
    for (const [c, mean] of before.entries()) {
      expect(Math.abs((after[c] ?? 0) - mean)).toBeLessThan(1e-4 * Math.abs(mean));
      expect(Math.abs((without[c] ?? 0) - mean)).toBeGreaterThan(1e-2 * Math.abs(mean));
    }
  });
});

describe("least squares", () => {
  it("of a network pruned before aims at what it first gave", async () => {
    const once = await pruned(block(), [0, 1, 3]);
    const first = await pruned(block(), [1]);
    // Units 0 and 3 of the first six are 0 and 2 of the five that are left.
    const second = await pruned(first.pruned, [0, 2], width - 1);
    const kept = through(first.kept, second.kept);
    expect(kept.positions("inner", 1)).toEqual(once.kept.positions("inner", 1));
    expect(kept.mask("inner", 1)).toEqual(once.kept.mask("inner", 1));
    const best = await leastSquares().apply(once);
    const blind = await leastSquares().apply(second);
    const aimed = await leastSquares().apply({ ...second, first: { original: first.original, kept } });
    expect(await distance(best, aimed)).toBeLessThan(1e-10);
    expect(await distance(best, blind)).toBeGreaterThan(1e-3);
  });

  it("repairs what lies behind a branch that is gone, though no layer lost inputs", async () => {
    const g = edit(block());
    g.setOutputs([]);
    const weight = g.constant(float32Tensor([3, trunk, 1, 1], noise("behind", 3 * trunk)), "behind");
    g.output(g.op("Conv", ["y", weight], {}, "z"), "f32");
    const whole = await pruned(g.finish(), []);
    const branch = { sum: "y", bypass: "x", mean: new Float64Array(trunk), axis: 1 };
    const context = { ...whole, pruned: dropBranches(whole.pruned, [branch], whole.original.facts.types) };
    const repaired = await leastSquares().apply(context);
    const far = await distance(whole.original.graph, context.pruned, "z");
    expect(await distance(whole.original.graph, repaired, "z")).toBeLessThan(0.9 * far);
  });
});

describe("bias compensation", () => {
  it("is exact where the removed inputs are constant", async () => {
    const context = await pruned(block({ constant: [1, 4], padded: false }), [1, 4]);
    const repaired = await biasCompensation().apply(context);
    expect(await distance(context.original.graph, context.pruned)).toBeGreaterThan(1e-3);
    expect(await distance(context.original.graph, repaired)).toBeLessThan(1e-10);
  });

  it("is not where they vary", async () => {
    const context = await pruned(block({ padded: false }), [1, 4]);
    const repaired = await biasCompensation().apply(context);
    expect(await distance(context.original.graph, repaired)).toBeGreaterThan(1e-3);
  });
});

describe("constant folding", () => {
  it("is exact for channels that give one number whatever the data, without any data", async () => {
    const context = { ...(await pruned(block({ constant: [1, 4], padded: false }), [1, 4])), calibration: null };
    const repaired = await foldConstants.apply(context);
    expect(await distance(context.original.graph, context.pruned)).toBeGreaterThan(1e-3);
    expect(await distance(context.original.graph, repaired)).toBeLessThan(1e-10);
  });

  it("leaves alone what varies, and what a padded window sees", async () => {
    for (const kind of [{ padded: false }, { constant: [1, 4], padded: true }]) {
      const context = await pruned(block(kind), [1, 4]);
      expect(await foldConstants.apply(context)).toBe(context.pruned);
    }
  });
});

/** The block with every weight of a size below a limit set to zero. */
async function sparse(graph: Graph, limit: number): Promise<RecoveryContext> {
  const original = await analyse(graph, runtime);
  let pruned = graph;
  for (const { parameter } of original.matrices) {
    const tensor = await load(graph.constants.get(parameter) ?? expect.fail());
    const values = toFloat32(tensor).map((w) => (Math.abs(w) < limit ? 0 : w));
    pruned = withConstant(
      pruned,
      parameter,
      fromFloats(isFloat(tensor.dtype) ? tensor.dtype : "f32", tensor.shape, values),
    );
  }
  const kept = keptPositions(original.coupling, new Map());
  return { runtime, original, kept, pruned, calibration: images, batchSize: 10, job: {} };
}

async function zerosOf({ constants }: Graph, name: string): Promise<readonly number[]> {
  const values = toFloat32(await load(constants.get(name) ?? expect.fail()));
  return [...values.entries()].filter(([, w]) => w === 0).map(([i]) => i);
}

describe.each([
  ["with norms", {}],
  ["with norms folded", { folded: true }],
] as const)("recovery of zeros in a residual block %s", (_, kind: Block) => {
  it("gets nearer to the original step by step, and every zero stays", async () => {
    const context = await sparse(block(kind), 0.3);
    const plain = await distance(context.original.graph, context.pruned);
    const repaired = async (recovery: Recovery) => {
      const graph = await recovery.apply(context);
      for (const name of ["first", "second"]) {
        const zeros = await zerosOf(context.pruned, name);
        expect(zeros.length).toBeGreaterThan(20);
        expect(await zerosOf(graph, name)).toEqual(zeros);
      }
      return distance(context.original.graph, graph);
    };
    const [bias, norm, lsq] = [
      await repaired(biasCompensation()),
      await repaired(normEstimation()),
      await repaired(leastSquares()),
    ];
    expect(bias).toBeLessThan(0.95 * plain);
    expect(norm).toBeLessThan(plain);
    expect(lsq).toBeLessThan(0.9 * Math.min(bias, norm));
  });
});

it("weights in bfloat16 are repaired with biases in the type that is computed in", async () => {
  const g = builder("stored", 17);
  g.input("x", "f32", ["n", 8]);
  const stored = g.constant(fromFloats("bf16", [8, 6], noise("stored", 48)), "w");
  g.output(g.op("MatMul", ["x", g.op("Cast", [stored], { to: int(1) })], {}, "y"), "f32", ["n", 6]);
  const rows = fromTensors({ x: float32Tensor([24, 8], noise("rows", 24 * 8, 0.3, 1)) });
  const context = { ...(await sparse(g.finish(), 0.8)), calibration: rows };
  const error = async (graph: Graph) => {
    const { inputs } = await rows.gather(Int32Array.from({ length: 24 }, (_, i) => i));
    const y = async (each: Graph) =>
      toFloat32((await evaluate(runtime, each, ["y"], inputs)).get("y") ?? expect.fail());
    const [x, now] = [await y(context.original.graph), await y(graph)];
    return x.reduce((sum, value, i) => sum + (value - (now[i] ?? 0)) ** 2, 0) / x.length;
  };
  const plain = await error(context.pruned);
  const bias = await error(await biasCompensation().apply(context));
  expect(bias).toBeLessThan(0.5 * plain);
  expect(await error(await leastSquares().apply(context))).toBeLessThan(bias);
  const settings = { length: { updates: 30 }, batchSize: 12, rate: 0.02 };
  const updated = await lowRankUpdates({ settings, lora: { rank: 4, alpha: 4 } }).apply({ ...context, training: rows });
  expect(await error(updated)).toBeLessThan(0.9 * plain);
  expect(updated.constants.get("w")?.dtype).toBe("bf16");
  expect(await zerosOf(updated, "w")).toEqual(await zerosOf(context.pruned, "w"));
});

it("recoveries that need data say so when there is none", async () => {
  const context = { ...(await pruned(block(), [1])), calibration: null };
  for (const recovery of [normEstimation(), biasCompensation(), leastSquares()]) {
    expect(recovery.needsData).toBe(true);
    await expect(recovery.apply(context)).rejects.toThrow(/calibration inputs/);
  }
});
