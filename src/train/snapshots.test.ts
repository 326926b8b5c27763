import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromTensors } from "../data/from-tensors.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { analyse } from "../models/analysis.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { load } from "../tensor/tensor.ts";
import { crossEntropy } from "./objectives/losses.ts";
import { sgd } from "./optimisers/sgd.ts";
import { trainable } from "./parameters/trainable.ts";
import { keepSnapshots } from "./snapshot-file.node.ts";
import { type TrainGraphOptions, trainGraph } from "./train-graph.ts";

let runtime: Runtime;
let folder = "";
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  folder = mkdtempSync(join(tmpdir(), "espalier-snapshots-"));
});
afterAll(async () => {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});

function noise(label: string, length: number): Float32Array {
  const values = new Float32Array(length);
  random(4, label).fillNormal(values, 0, 0.5);
  return values;
}

function network(): Graph {
  const g = builder("net");
  g.input("x", "f32", ["n", 4]);
  const constant = (name: string, shape: readonly number[]) =>
    g.constant(
      float32Tensor(
        shape,
        noise(
          name,
          shape.reduce((a, b) => a * b, 1),
        ),
      ),
      name,
    );
  const hidden = g.op("Relu", [g.op("Gemm", ["x", constant("w1", [4, 8]), constant("b1", [8])])]);
  g.output(g.op("Gemm", [hidden, constant("w2", [8, 3]), constant("b2", [3])], {}, "logits"), "f32", ["n", 3]);
  return g.finish();
}

const data = fromTensors(
  { x: float32Tensor([96, 4], noise("x", 96 * 4)) },
  Int32Array.from({ length: 96 }, (_, i) => i % 3),
);

async function options(changes: Partial<TrainGraphOptions> = {}): Promise<TrainGraphOptions> {
  const graph = network();
  return {
    runtime,
    graph,
    data,
    parameters: await trainable(graph, (await analyse(graph, runtime)).matrices),
    objective: ({ g, outputs: [logits], input }) =>
      crossEntropy(g, logits ?? expect.fail(), input("labels", "i32", [logits?.shape[0] ?? 0])),
    labels: "labels",
    length: { updates: 12 },
    batchSize: 16,
    optimiser: (decay) => sgd({ decay }),
    rate: 0.05,
    ...changes,
  };
}

async function bytesOf(graph: Graph): Promise<readonly string[]> {
  const all: string[] = [];
  for (const [name, ref] of graph.constants)
    all.push(`${name} ${Buffer.from((await load(ref)).bytes).toString("hex")}`);
  return all.sort();
}

describe("a run that is stopped", () => {
  it.each([
    ["whole batches", {}],
    ["batches in parts", { runSize: 8 }],
  ] as const)("goes on from its file to the bytes of one that never was: %s", async (kind, changes) => {
    const whole = await trainGraph(await options(changes));
    const keeper = keepSnapshots(join(folder, `${kind}.snapshot`), kind);
    const stop = new AbortController();
    const stopped = trainGraph(
      await options({
        ...changes,
        keep: { seconds: 1e9, write: keeper.write },
        signal: stop.signal,
        progress: ({ phase, done }) => {
          if (phase === "train" && done === 5) stop.abort(new Error("stopped here"));
        },
      }),
    );
    await expect(stopped).rejects.toThrow("stopped here");
    const snapshot = await keeper.read();
    expect(snapshot?.updates).toBe(6);
    const rest = await trainGraph(await options({ ...changes, ...(snapshot === null ? {} : { resume: snapshot }) }));
    expect(await bytesOf(rest.graph)).toEqual(await bytesOf(whole.graph));
    expect(rest.points).toEqual(whole.points);
    await keeper.clear();
    expect(await keeper.read()).toBeNull();
  });

  it("keeps the state of the last good update where numbers stop to be finite", async () => {
    const keeper = keepSnapshots(join(folder, "wild.snapshot"), "wild");
    const wild = await options({
      rate: 1,
      schedule: (update) => (update < 4 ? 0.05 : 1e25),
      keep: { seconds: 1e9, write: keeper.write },
    });
    await expect(trainGraph(wild)).rejects.toThrow(/update \d+: expected finite numbers, got \S+/);
    const snapshot = await keeper.read();
    expect(snapshot?.updates).toBeGreaterThanOrEqual(4);
    for (const tensor of snapshot?.tensors.values() ?? []) {
      expect(new Float32Array(tensor.bytes.slice().buffer).every(Number.isFinite)).toBe(true);
    }
  });

  it("writes snapshots as often as it is told, and leaves no others behind", async () => {
    const path = join(folder, "often.snapshot");
    const keeper = keepSnapshots(path, "often");
    const written: number[] = [];
    const keep = {
      seconds: 0,
      write: async (snapshot: Parameters<typeof keeper.write>[0]) => {
        written.push(snapshot.updates);
        await keeper.write(snapshot);
      },
    };
    await trainGraph(await options({ keep }));
    expect(written).toEqual(Array.from({ length: 11 }, (_, i) => i + 1));
    expect(readdirSync(folder).filter((name) => name.includes("often"))).toEqual(["often.snapshot"]);
    expect((await keeper.read())?.updates).toBe(11);
  });

  it("is not mistaken for another", async () => {
    const path = join(folder, "one.snapshot");
    const last = {
      updates: 1,
      planned: 2,
      points: [],
      tensors: new Map([["w", float32Tensor([1], Float32Array.of(1))]]),
    };
    await keepSnapshots(path, "one").write(last);
    expect(await keepSnapshots(path, "one").read()).toEqual(last);
    await expect(keepSnapshots(path, "two").read()).rejects.toThrow(
      "expected the snapshot of the same training, got another's",
    );
    writeFileSync(path, "no snapshot");
    await expect(keepSnapshots(path, "one").read()).rejects.toThrow(/expected a header inside the file/);
  });
});

describe("minutes", () => {
  it("give the bytes of a run of as many updates", async () => {
    const timed = await trainGraph(await options({ length: { minutes: 0.01 } }));
    expect(timed.updates).toBeGreaterThanOrEqual(1);
    const counted = await trainGraph(await options({ length: { updates: timed.updates } }));
    expect(await bytesOf(counted.graph)).toEqual(await bytesOf(timed.graph));
  });
});

describe("settings", () => {
  it("decay matrices, and vectors where told", async () => {
    const still = {
      optimiser: (decay: number) => sgd({ decay, momentum: 0 }),
      decay: 1,
      rate: 0.1,
      length: { updates: 1 },
      schedule: () => 1,
    };
    const none = await trainGraph(await options({ ...still, decay: 0 }));
    const some = await trainGraph(await options(still));
    const all = await trainGraph(await options({ ...still, decayVectors: true }));
    const changed = async (other: Graph): Promise<readonly string[]> => {
      const before = await bytesOf(none.graph);
      const after = await bytesOf(other);
      return before.filter((line, i) => line !== after[i]).map((line) => line.split(" ")[0] ?? "");
    };
    expect(await changed(some.graph)).toEqual(["w1", "w2"]);
    expect(await changed(all.graph)).toEqual(["b1", "b2", "w1", "w2"]);
  });

  it("a running mean of the parameters is what is kept, where it is asked for", async () => {
    const last = await trainGraph(await options());
    const mean = await trainGraph(await options({ average: 0.9 }));
    const first = await trainGraph(await options({ average: 1 }));
    expect(await bytesOf(mean.graph)).not.toEqual(await bytesOf(last.graph));
    expect(await bytesOf(first.graph)).toEqual(await bytesOf(network()));
  });

  it("an input that the data does not feed is named", async () => {
    const other = fromTensors({ y: float32Tensor([96, 4], noise("x", 96 * 4)) });
    await expect(trainGraph(await options({ data: other }))).rejects.toThrow(
      'input "x": expected data of this name, got y',
    );
  });
});
