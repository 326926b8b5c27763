import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../../data/from-tensors.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { analyse } from "../../models/analysis.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { type HostTensor, load } from "../../tensor/tensor.ts";
import { crossEntropy } from "../../train/objectives/losses.ts";
import { trainable } from "../../train/parameters/trainable.ts";
import { gradualMagnitude, rigl, set } from "./programmes.ts";
import { type SharedRounds, type SparseTraining, trainSparse } from "./train-sparse.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

function network(seed = 3): Graph {
  const g = builder("net");
  const weights = (shape: number[], name: string): string => {
    const values = new Float32Array(shape.reduce((n, dim) => n * dim, 1));
    random(seed, name).fillNormal(values, 0, 0.5);
    return g.float32([...values], shape, name);
  };
  g.input("x", "f32", ["n", 4]);
  const hidden = g.op("Tanh", [
    g.op("Gemm", ["x", weights([4, 10], "w1"), g.float32(Array<number>(10).fill(0), [10], "b1")]),
  ]);
  g.output(g.op("MatMul", [hidden, weights([10, 2], "w2")], {}, "logits"), "f32", ["n", 2]);
  return g.finish();
}

const points = new Float32Array(64 * 4);
random(5, "points").fillNormal(points);
const labels = Int32Array.from({ length: 64 }, (_, i) => ((points[4 * i] ?? 0) > 0 ? 1 : 0));
const data = fromTensors(new Map([["x", float32Tensor([64, 4], points)]]), labels, "points");

async function trained(plan: SparseTraining, masks?: ReadonlyMap<string, HostTensor>, shared?: SharedRounds) {
  const graph = network();
  const { matrices } = await analyse(graph, runtime);
  const result = await trainSparse({
    ...{ runtime, graph, data, matrices, plan, seed: 1, batchSize: 16, labels: "labels" },
    ...(masks === undefined ? {} : { masks }),
    ...(shared === undefined ? {} : { shared }),
    length: { epochs: 5 },
    rate: 0.02,
    parameters: await trainable(graph, matrices),
    objective: ({ g, outputs: [y], input }) => crossEntropy(g, y ?? expect.fail(), input("labels", "i32", [16])),
    redrawn: async () => network(9),
  });
  const read = async (name: string) => toFloat32(await load(result.graph.constants.get(name) ?? expect.fail()));
  return { ...result, w1: await read("w1"), w2: await read("w2") };
}

const nonzero = (values: Float32Array) => values.filter((v) => v !== 0).length;
const ticket = {
  kind: "rounds",
  sparsity: 0.75,
  rounds: 2,
  scope: "uniform",
  rewind: { weights: 0.1, schedule: 0.1 },
} as const;

describe("sparse training", () => {
  it("in one run or in rounds gives the sparsity, and counts all work", async () => {
    const once = await trained({ kind: "programme", programme: gradualMagnitude({ sparsity: 0.75, changes: 10 }) });
    const thrice = await trained(ticket);
    for (const { w1, w2 } of [once, thrice]) expect([nonzero(w1), nonzero(w2)]).toEqual([10, 5]);
    expect(once.journal.at(-1)?.sparsity).toBeCloseTo(0.75, 5);
    // A whole run and two of nine tenths.
    expect(thrice.work.backwardMacs / once.work.backwardMacs).toBeCloseTo(2.8, 1);
  });

  it("under soft masks gives the sparsity too, or the pattern, and what is hardened stays", async () => {
    const masks = { sparsity: 0.75, forward: "soft", temperature: 0.05, from: 0.2, until: 0.6 } as const;
    const pattern = { kind: "element" } as const;
    for (const harden of [0.8, 1]) {
      const { w1, w2, work } = await trained({ kind: "soft", masks: { ...masks, pattern, harden } });
      expect(nonzero(w1) + nonzero(w2)).toBe(15);
      // One run, however many parts it has.
      expect(work.samples).toBe(5 * 64);
    }
    // One threshold for all: layers do not lose the same share, unless they are the same.
    const all = await trained({ kind: "soft", masks: { ...masks, pattern, harden: 1, forward: "hard" } });
    expect([nonzero(all.w1), nonzero(all.w2)]).not.toEqual([10, 5]);
    const pairs = { kind: "n:m", keep: 1, of: 4 } as const;
    const { w1, w2 } = await trained({ kind: "soft", masks: { ...masks, pattern: pairs, harden: 0.9 } });
    // The 4 inputs of the first layer are one group; 4 does not divide the 10 of the second, which stays whole.
    for (let column = 0; column < 10; column++) {
      expect(nonzero(Float32Array.from([0, 1, 2, 3], (row) => w1[10 * row + column] ?? 0))).toBe(1);
    }
    expect(nonzero(w2)).toBe(20);
    // Half of the hidden units have no weights left; those that answer have all.
    const rows = await trained({
      kind: "soft",
      masks: { ...masks, sparsity: 0.5, pattern: { kind: "row" }, harden: 0.9 },
    });
    const unit = (column: number) => nonzero(Float32Array.from([0, 1, 2, 3], (row) => rows.w1[10 * row + column] ?? 0));
    expect(Array.from({ length: 10 }, (_, column) => unit(column)).sort()).toEqual([0, 0, 0, 0, 0, 4, 4, 4, 4, 4]);
    expect(nonzero(rows.w2)).toBe(20);
  });

  it("starts from masks that it is given, and removes more from there", async () => {
    const first = Float32Array.from({ length: 40 }, (_, i) => +(i >= 20));
    const masks = new Map([["w1", float32Tensor([4, 10], first)]]);
    const staying = await trained({ kind: "programme", programme: { changes: 1 } }, masks);
    expect([...staying.w1].map((v) => +(v !== 0))).toEqual([...first]);
    const ramp = gradualMagnitude({ sparsity: 0.75, changes: 10 });
    for (const plan of [{ kind: "programme", programme: ramp } as const, { ...ticket, rounds: 1 }]) {
      const { w1, w2 } = await trained(plan, masks);
      expect([nonzero(w1), nonzero(w2)]).toEqual([10, 5]);
      expect(w1.subarray(0, 20)).toEqual(new Float32Array(20));
    }
  });

  it("rounds that controls have in common are trained once, and count for each", async () => {
    const shared: SharedRounds = new Map();
    const first = await trained(ticket, undefined, shared);
    expect(shared.size).toBe(1);
    for (const control of ["ticket", "shuffle", "reinit"] as const) {
      const [alone, again] = [
        await trained({ ...ticket, control }),
        await trained({ ...ticket, control }, undefined, shared),
      ];
      expect(again.w1).toEqual(alone.w1);
      expect(again.work).toEqual(first.work);
    }
    // Another plan has rounds of its own.
    const other = await trained({ ...ticket, sparsity: 0.5 }, undefined, shared);
    expect(nonzero(other.w1)).toBe(20);
    expect(shared.size).toBe(2);
  });

  it("counts the passes that only look at gradients", async () => {
    const work = async (exchange: typeof rigl) =>
      (await trained({ kind: "programme", programme: exchange({ sparsity: 0.5, changes: 10 }) })).work;
    const [seen, blind] = [await work(rigl), await work(set)];
    // 20 updates, and 7 exchanges before three quarters of them are over.
    expect(seen.samples - blind.samples).toBe(7 * 16);
    expect(seen.forwardMacs / blind.forwardMacs).toBeCloseTo(27 / 20, 5);
  });

  it("controls keep the counts and change what they should", async () => {
    const [own, again] = [await trained(ticket), await trained({ ...ticket, control: "ticket" })];
    expect(again.w1).toEqual(own.w1);
    const places = (w: Float32Array) => [...w].map((v) => +(v !== 0)).join("");
    const shuffled = await trained({ ...ticket, control: "shuffle" });
    expect([nonzero(shuffled.w1), nonzero(shuffled.w2)]).toEqual([10, 5]);
    expect(places(shuffled.w1)).not.toBe(places(own.w1));
    const redrawn = await trained({ ...ticket, control: "reinit" });
    expect(places(redrawn.w1)).toBe(places(own.w1));
    expect(redrawn.w1).not.toEqual(own.w1);
  });
});
