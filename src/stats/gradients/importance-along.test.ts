import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromTensors } from "../../data/from-tensors.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { load } from "../../tensor/tensor.ts";
import { collectGradients } from "./gradients.ts";
import { importanceAlong, type PathSettings } from "./importance-along.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

const drawn = (label: string, shape: readonly number[], scale = 1) => {
  const values = new Float32Array(shape.reduce((n, size) => n * size, 1));
  random(2, label).fillNormal(values);
  return float32Tensor(
    shape,
    values.map((value) => scale * value),
  );
};

function network(): Graph {
  const g = builder("network");
  g.input("x", "f32", ["n", 5]);
  const hidden = g.op("Tanh", [g.op("MatMul", ["x", g.constant(drawn("a", [5, 6]), "a")])]);
  g.output(g.op("MatMul", [hidden, g.constant(drawn("b", [6, 3]), "b")], {}, "logits"), "f32", ["n", 3]);
  return g.finish();
}

const names = ["a", "b"] as const;
// All samples are one batch, so that the order in which they come does not matter.
const data = fromTensors({ x: drawn("x", [12, 5]) });
const path: PathSettings = { epochs: 3, batchSize: 12, rate: 0.3, clip: 1e6, expansion: "second-order" };
/** Three updates are too few for a rise: the rate falls in a line to nothing. */
const rates = [1, 2 / 3, 1 / 3].map((share) => share * path.rate);

type Numbers = ReadonlyMap<string, Float32Array>;

/** The same updates by hand, each from gradients that are measured anew. */
async function byHand(
  change: (w: number, g: number) => number,
  pulled: (name: string, gradient: Float32Array, rate: number) => Float32Array = (_, gradient) => gradient,
  clip = Number.POSITIVE_INFINITY,
): Promise<Numbers> {
  let graph = network();
  const sums = new Map(names.map((name) => [name, new Float32Array(toShape(graph, name))]));
  for (const rate of rates) {
    const found = await collectGradients(runtime, graph, names, ["gradient"], data, { batchSize: 12 });
    const all = names.flatMap((name) => [...(found.get(name)?.gradient ?? [])]);
    const factor = Math.min(1, clip / Math.hypot(...all));
    const constants = new Map(graph.constants);
    for (const name of names) {
      const gradient = (found.get(name)?.gradient ?? expect.fail()).map((g) => g * factor);
      const pull = pulled(name, gradient, rate);
      const ref = graph.constants.get(name) ?? expect.fail();
      const values = toFloat32(await load(ref)).slice();
      const sum = sums.get(name) ?? expect.fail();
      for (const [i, w] of values.entries()) {
        sum[i] = (sum[i] ?? 0) + Math.abs(change(w, pull[i] ?? 0));
        values[i] = w - rate * (pull[i] ?? 0);
      }
      const moved = float32Tensor(ref.shape, values);
      constants.set(name, { dtype: moved.dtype, shape: moved.shape, resident: moved.bytes });
    }
    graph = { ...graph, constants };
  }
  return sums;
}

const toShape = (graph: Graph, name: string): number =>
  (graph.constants.get(name)?.shape ?? []).reduce((n, size) => n * size, 1);

const secondOrder = (w: number, g: number): number => g * w - (g * w) ** 2 / 24;

function expectNear(found: Numbers, expected: Numbers): void {
  for (const name of names) {
    const values = found.get(name) ?? expect.fail();
    for (const [i, value] of (expected.get(name) ?? expect.fail()).entries()) expect(values[i]).toBeCloseTo(value, 4);
  }
}

const along = (settings: Partial<PathSettings> = {}, anchors?: ReadonlyMap<string, ReturnType<typeof drawn>>) =>
  importanceAlong(
    runtime,
    network(),
    names,
    data,
    { ...path, ...settings },
    {
      seed: 0,
      ...(anchors === undefined ? {} : { anchors }),
    },
  );

describe("importance along a short training", () => {
  it("adds up what removal would change at each update, by the paper's expansion and the code's", async () => {
    expectNear(await along(), await byHand(secondOrder));
    const code = await byHand((w, g) => g * w + (g * w) ** 2 / 24 + w ** 3);
    expectNear(await along({ expansion: "published-code" }), code);
    await expect(async () => expectNear(await along(), code)).rejects.toThrow();
  });

  it("clips gradients of all parameters together", async () => {
    const clipped = await along({ clip: 0.1 });
    expectNear(clipped, await byHand(secondOrder, undefined, 0.1));
    await expect(async () => expectNear(clipped, await byHand(secondOrder))).rejects.toThrow();
  });

  it("is held by an anchor, by a share of the gradient or as published", async () => {
    const anchors = new Map(names.map((name) => [name, scoresOf(name)]));
    const shared = await along({ anchor: { strength: { share: 0.5 } } }, anchors);
    const norm = (values: Float32Array) => Math.hypot(...values);
    const term = (name: (typeof names)[number], gradient: Float32Array) => {
      const scores = toFloat32(scoresOf(name));
      return gradient.map((g, i) => (scores[i] ?? 0) * g * g);
    };
    const pulled = (name: string, gradient: Float32Array): Float32Array => {
      const pull = term(name === "a" ? "a" : "b", gradient);
      const factor = (0.5 * norm(gradient)) / norm(pull);
      return gradient.map((g, i) => g + factor * (pull[i] ?? 0));
    };
    expectNear(shared, await byHand(secondOrder, pulled));
    await expect(async () => expectNear(shared, await byHand(secondOrder))).rejects.toThrow();
    const published = await along({ anchor: { strength: { lambda: 400 } } }, anchors);
    const strong = (name: string, gradient: Float32Array, rate: number) => {
      const pull = term(name === "a" ? "a" : "b", gradient);
      return gradient.map((g, i) => g + ((2 * 400 * rate * rate) / 1000) * (pull[i] ?? 0));
    };
    expectNear(published, await byHand(secondOrder, strong));
  });
});

function scoresOf(name: (typeof names)[number]) {
  const tensor = drawn(`scores ${name}`, name === "a" ? [5, 6] : [6, 3]);
  return float32Tensor(
    tensor.shape,
    toFloat32(tensor).map((value) => value * value),
  );
}
