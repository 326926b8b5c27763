import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../data/from-tensors.ts";
import { take } from "../data/subset.ts";
import { builder } from "../graph/builder.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { load } from "../tensor/tensor.ts";
import { heldOutName } from "./held-out.ts";
import { crossEntropy } from "./objectives/losses.ts";
import type { RunSnapshot } from "./train.ts";
import { trainGraph } from "./train-graph.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

function noise(label: string, shape: readonly number[], scale = 1) {
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  random(2, label).fillNormal(values, 0, scale);
  return float32Tensor(shape, values);
}

/** A net with far more weights than samples, which learns them by heart: held-out samples have labels by chance. */
function graph() {
  const g = builder("net");
  g.input("x", "f32", ["n", 16]);
  const hidden = g.op("Relu", [g.op("MatMul", ["x", g.constant(noise("a", [16, 64], 0.3), "a")])]);
  g.output(g.op("MatMul", [hidden, g.constant(noise("b", [64, 4], 0.05), "b")], {}, "logits"), "f32", ["n", 4]);
  return g.finish();
}

const data = fromTensors(
  { x: noise("x", [24, 16]) },
  Array.from({ length: 24 }, (_, i) => Math.floor(4 * random(1, "y", i).uniform())),
);
const other = fromTensors(
  { x: noise("held", [21, 16]) },
  Array.from({ length: 21 }, (_, i) => Math.floor(4 * random(1, "z", i).uniform())),
);

const run = (
  options: {
    updates?: number;
    patience?: number;
    every?: number;
    held?: boolean;
    until?: number;
    resume?: RunSnapshot;
  } = {},
) => {
  const { updates = 60, patience, every = 5, held = true, until, resume } = options;
  return trainGraph({
    runtime,
    graph: graph(),
    data,
    parameters: [
      { name: "a", kind: "matrix" },
      { name: "b", kind: "matrix" },
    ],
    objective: ({ g, outputs: [logits], input }) => {
      if (logits === undefined) throw new Error("no logits");
      return crossEntropy(g, logits, input("labels", "i32", logits.shape.slice(0, -1)));
    },
    labels: "labels",
    length: { updates },
    batchSize: 8,
    rate: 0.02,
    schedule: () => 1,
    seed: 3,
    ...(held ? { heldOut: { data: other, every, ...(patience === undefined ? {} : { patience }) } } : {}),
    ...(until === undefined ? {} : { until }),
    ...(resume === undefined ? {} : { resume }),
  });
};

const weights = async (done: Awaited<ReturnType<typeof run>>) =>
  toFloat32(await load(done.graph.constants.get("a") ?? expect.fail()));

describe("held-out data", () => {
  it("gives the parameters of the moment when its loss was lowest, on the way of the same run", async () => {
    const watched = await run();
    const found = watched.points.filter(({ reports }) => reports.has(heldOutName));
    expect(found.map(({ update }) => update)).toEqual([5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]);
    const values = found.map(({ reports }) => reports.get(heldOutName) ?? Number.NaN);
    expect(watched.best).toEqual({
      loss: Math.min(...values),
      update: found[values.indexOf(Math.min(...values))]?.update,
    });
    expect(watched.best?.update).toBeLessThan(60);
    // The same run, stopped at the best moment, has these parameters; the end of the run has others.
    const stopped = await run({ held: false, until: watched.best?.update ?? 0 });
    expect(await weights(watched)).toEqual(await weights(stopped));
    expect(await weights(watched)).not.toEqual(await weights(await run({ held: false })));
  });

  it("is measured as a batch at a time would be, without the last incomplete one", async () => {
    const { points } = await run({ updates: 1, every: 1 });
    const after = await run({ held: false, updates: 1 });
    const trained = await runtime.compile(after.graph);
    const { inputs, labels } = await take(other, 16).gather(Int32Array.from({ length: 16 }, (_, i) => i));
    const logits = toFloat32((await trained.run(inputs)).get("logits") ?? expect.fail());
    await trained.release();
    let loss = 0;
    for (const [i, label] of (labels ?? []).entries()) {
      const row = [...logits.slice(4 * i, 4 * i + 4)];
      loss += Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - (row[label] ?? 0);
    }
    expect(points[0]?.reports.get(heldOutName)).toBeCloseTo(loss / 16, 5);
  });

  it("ends a run that does not get better", async () => {
    const whole = await run();
    const ended = await run({ patience: 2 });
    const best = whole.best?.update ?? 0;
    expect(ended.updates).toBe(best + 10);
    expect(await weights(ended)).toEqual(await weights(whole));
  });

  it("is remembered over a stop", async () => {
    const whole = await run();
    const first = await run({ until: 30 });
    const second = await run({ resume: first.last });
    expect(second.best).toEqual(whole.best);
    expect(await weights(second)).toEqual(await weights(whole));
  });
});
