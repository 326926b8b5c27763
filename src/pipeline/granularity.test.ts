import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../data/from-tensors.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import { ints } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Draft } from "../graph/draft.ts";
import { type Model, modelFrom } from "../models/model.ts";
import { layers, structured } from "../plans/methods.ts";
import { contender, planOf, usualAmounts } from "../plans/settings.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { type Pruned, prune } from "./prune.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

const width = 12;
const time = 5;

function noise(label: string, shape: readonly number[], scale: number) {
  const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
  random(2, label).fillNormal(values);
  return float32Tensor(
    shape,
    values.map((n) => n * scale),
  );
}

/** Adds attention with 2 key heads of 3 query heads each, or of as many key heads as query heads. */
function attention(g: Draft, x: string, label: string, scale: number, shared = 3): string {
  const keys = 6 / shared;
  const project = (name: string, heads: number): string => {
    const y = g.op("MatMul", [x, g.constant(noise(`${label}.${name}`, [width, heads * 4], 0.4), `${label}.${name}`)]);
    const open = g.op("Reshape", [y, g.int64([0, 0, heads, 4])]);
    return g.op("Transpose", [open], { perm: ints([0, 2, 1, 3]) });
  };
  const repeat = (value: string): string => {
    const copies = g.op("Expand", [g.op("Unsqueeze", [value, g.int64([2])]), g.int64([1, keys, shared, time, 4])]);
    return g.op("Reshape", [copies, g.int64([-1, 6, time, 4])]);
  };
  const [k, v] = [repeat(project("key", keys)), repeat(project("value", keys))];
  const scores = g.op("MatMul", [project("query", 6), g.op("Transpose", [k], { perm: ints([0, 1, 3, 2]) })]);
  const mixed = g.op("MatMul", [g.op("Softmax", [scores], { axis: { kind: "int", value: -1 } }), v]);
  const joined = g.op("Reshape", [g.op("Transpose", [mixed], { perm: ints([0, 2, 1, 3]) }), g.int64([0, 0, 24])]);
  const out = g.op("MatMul", [joined, g.constant(noise(`${label}.out`, [24, width], scale), `${label}.out`)]);
  return g.op("Add", [x, out], {}, `${label}.sum`);
}

function mlp(g: Draft, x: string, label: string, scale: number): string {
  const up = g.op("MatMul", [x, g.constant(noise(`${label}.up`, [width, 20], 0.4), `${label}.up`)]);
  const down = g.constant(noise(`${label}.down`, [20, width], scale), `${label}.down`);
  return g.op("Add", [x, g.op("MatMul", [g.op("Relu", [up]), down])], {}, `${label}.sum`);
}

/** Four branches, of which `b` and `d` hardly add anything. */
function model(): Model {
  const g = builder("branches", 17);
  let x = g.input("x", "f32", ["batch", time, width]);
  x = attention(g, x, "a", 0.5);
  x = mlp(g, x, "b", 0.005);
  x = attention(g, x, "c", 0.5, 1);
  x = mlp(g, x, "d", 0.01);
  g.output(g.op("MatMul", [x, g.constant(noise("head", [width, 3], 1), "head")], {}, "y"), "f32");
  return modelFrom("branches", modelOf(g.finish()));
}

const calibration = fromTensors({ x: noise("data", [24, time, width], 1) });
const run = (plan: ReturnType<typeof planOf>): Promise<Pruned> =>
  prune(model(), plan, { runtime, calibration, measure: false, batchSize: 8 });

const widths = ({ report }: Pruned) =>
  Object.fromEntries(report.layers.map(({ name, before, after }) => [name, `${after} of ${before}`]));

describe("heads", () => {
  it("are key heads with their queries unless single query heads are asked for", async () => {
    const heads = await run(structured({ sparsity: 0.5, granularity: "head" }));
    expect(Object.values(widths(heads))).toEqual(["1 of 2", "3 of 6"]);
    const queries = await run(structured({ sparsity: 0.34, granularity: "query-head" }));
    expect(Object.values(widths(queries))).toEqual(["4 of 6", "4 of 6"]);
    const [mask] = queries.masks.values();
    const kept = [mask?.subarray(0, 3), mask?.subarray(3)].map((set) => set?.reduce((sum, keep) => sum + keep, 0));
    expect(kept).toEqual([2, 2]);
    for (const { report } of [heads, queries]) expect(report.law?.passed).toBe(true);
  });

  it("leave everything else as it is", async () => {
    const { model: small } = await run(structured({ sparsity: 0.5, granularity: "head" }));
    const shape = (name: string) => small.onnx.graph.constants.get(name)?.shape;
    expect(["a.query", "a.key", "a.out", "b.up"].map(shape)).toEqual([
      [width, 12],
      [width, 4],
      [12, width],
      [width, 20],
    ]);
  });
});

describe("layers", () => {
  const dropped = (pruned: Pruned) =>
    Object.entries(widths(pruned)).flatMap(([name, kept]) => (kept === "0 of 1" ? [name] : []));

  it("go by least influence, by least harm, and never more than the target asks for", async () => {
    for (const criterion of ["influence", "error"] as const) {
      const half = await run(layers({ criterion, sparsity: 0.5 }));
      expect(half.report.law?.passed).toBe(true);
      expect(half.model.onnx.graph.constants.has("a.out")).toBe(true);
      expect(half.model.onnx.graph.constants.has("b.up")).toBe(false);
      expect(half.model.onnx.graph.constants.has("d.up")).toBe(false);
      expect(dropped(half)).toHaveLength(2);
    }
    const some = await run(layers({ keepMacs: 0.9 }));
    expect(dropped(some)).toHaveLength(1);
    expect(some.report.after.macs / some.report.before.macs).toBeLessThanOrEqual(0.9);
  });

  it("can be replaced by what they gave on average, which is never worse on the same inputs", async () => {
    const bare = await run(planOf({ granularity: "layer", criterion: "random", sparsity: 0.5 }, 1));
    const mean = await run(planOf({ granularity: "layer", criterion: "random", sparsity: 0.5, recover: "bias" }, 1));
    expect(dropped(mean)).toEqual(dropped(bare));
    expect(mean.report.fidelity?.relativeError).toBeLessThan(bare.report.fidelity?.relativeError ?? 0);
    const refitted = await run(planOf({ granularity: "layer", criterion: "random", sparsity: 0.5, recover: "lsq" }, 1));
    expect(refitted.report.fidelity?.relativeError).toBeLessThan(bare.report.fidelity?.relativeError ?? 0);
  });

  it("are left alone when a parameter in them is to be ignored", async () => {
    const pruned = await prune(model(), layers({ criterion: "random", sparsity: 1 }), {
      runtime,
      calibration,
      measure: false,
      ignore: ["b.up"],
    });
    expect(pruned.report.layers).toHaveLength(3);
    expect(pruned.model.onnx.graph.constants.has("b.up")).toBe(true);
  });

  it("say what is left at most, and need data where they look at it", async () => {
    await expect(run(layers({ keepMacs: 0 }))).rejects.toThrow(/Without any of the 4 branches/);
    await expect(prune(model(), layers({ sparsity: 0.5 }), { runtime, measure: false })).rejects.toThrow(/--calib/);
  });
});

describe("allocations of single weights", () => {
  const shares = async (settings: Parameters<typeof planOf>[0]) => {
    const { report } = await run(planOf({ granularity: "weight", sparsity: 0.5, ...settings }, 0));
    return Object.fromEntries(report.layers.map(({ name, before, after }) => [name, after / before]));
  };
  const total = (kept: Readonly<Record<string, number>>, sizes: Readonly<Record<string, number>>) =>
    Object.entries(kept).reduce((sum, [name, share]) => sum + share * (sizes[name] ?? 0), 0);

  it("ERK keeps small matrices dense, LAMP goes by the scores, and both meet the share", async () => {
    const { graph } = model().onnx;
    const sizes = Object.fromEntries([...graph.constants].map(([name, { shape }]) => [name, shape[0] ?? 0]));
    for (const [name, { shape }] of graph.constants) sizes[name] = shape.reduce((product, n) => product * n, 1);
    const uniform = await shares({});
    expect(new Set(Object.values(uniform))).toEqual(new Set([0.5]));
    for (const allocation of ["erk", "lamp"] as const) {
      const kept = await shares({ allocation });
      expect(Math.abs(total(kept, sizes) - total(uniform, sizes))).toBeLessThan(Object.keys(kept).length);
      expect(new Set(Object.values(kept)).size).toBeGreaterThan(1);
      if (allocation === "erk") expect(kept["head"]).toBe(1);
    }
  });

  it("a table decides for the matrices that it names", async () => {
    const kept = await shares({ table: new Map([["b.up", 0.25]]) });
    expect([kept["b.up"], kept["b.down"]]).toEqual([0.75, 0.5]);
  });

  it("are words of a comparison, and of no use to units", () => {
    const plan = contender("erk-l1", 0, "weight").plan({ sparsity: 0.5, granularity: "weight" });
    expect(plan.kind === "weights" && plan.profile).toBe("erk");
    expect(() => contender("lamp-l1", 0)).toThrow(/--allocation lamp/);
  });

  it("is planned as a pruning by itself is, widths and all", () => {
    for (const amount of [{ keepMacs: 0.5 }, { sparsity: 0.3, roundTo: 8 }, { keepMacs: 0.5, granularity: "head" }]) {
      const alone = planOf({ criterion: "l2", ...amount }, 0);
      expect(JSON.stringify(contender("l2", 0, amount.granularity).plan(amount))).toBe(JSON.stringify(alone));
    }
  });

  it("goes by shares of weights where zeros save no work, and by the pattern where that decides", () => {
    const plans = (granularity?: string) =>
      usualAmounts(granularity).map((amount) =>
        contender("l1", 0, granularity).plan({ ...amount, ...(granularity === undefined ? {} : { granularity }) }),
      );
    expect(plans().map(({ kind }) => kind)).toEqual(["units", "units"]);
    expect(plans("weight").map((plan) => plan.kind === "weights" && plan.sparsity)).toEqual([0.5, 0.75]);
    expect(plans("block:4x1").map((plan) => plan.kind === "weights" && plan.sparsity)).toEqual([0.5, 0.75]);
    expect(plans("1:4").map((plan) => plan.kind === "weights" && plan.sparsity)).toEqual([0.75]);
    expect(() => planOf({ granularity: "layer", criterion: "l2", sparsity: 0.5 }, 0)).toThrow(
      /influence, error, random/,
    );
    expect(() => planOf({ granularity: "layer", roundTo: 4, sparsity: 0.5 }, 0)).toThrow(/goes as a whole/);
    expect(() => planOf({ granularity: "weight", criterion: "wanda", order: "activation" }, 0)).toThrow(
      /--order activation: expected a sweep, got --criterion wanda/,
    );
    expect(() => planOf({ granularity: "2:4", criterion: "sparsegpt", order: "activation" }, 0)).toThrow(
      /expected --granularity weight, got 2:4/,
    );
    expect(() => planOf({ granularity: "weight", allocation: "erk", scope: "global", sparsity: 0.5 }, 0)).toThrow(
      /decides it all/,
    );
  });
});
