import { afterAll, describe, expect, it } from "vitest";
import { builder } from "../graph/builder.ts";
import type { Draft } from "../graph/draft.ts";
import { verify } from "../graph/passes/verify.ts";
import { analyse } from "../models/analysis.ts";
import { evaluate } from "../runtime/evaluate.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { cut } from "./cut.ts";
import { checkLaw } from "./law.ts";
import { masked } from "./masked.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

const width = 10;
const removed = [1, 4, 5, 8];
const epsilon = { epsilon: { kind: "float" as const, value: 0.05 } };

function noise(label: string, shape: readonly number[]): Float32Array {
  const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
  random(6, label).fillNormal(values);
  return values;
}

type Norm = (g: Draft, h: string, gain: string) => string;

/** h = x·W, y = norm(h)·V; with `zeroed`, the columns of W that make the removed channels are zeros. */
function network(norm: Norm, opset: number, zeroed: boolean) {
  const g = builder("norm", opset);
  const w = noise("w", [6, width]);
  if (zeroed) for (let i = 0; i < w.length; i++) if (removed.includes(i % width)) w[i] = 0;
  const h = g.op("MatMul", [g.input("x", "f32", [3, 5, 6]), g.constant(float32Tensor([6, width], w), "w")]);
  const gain = g.constant(float32Tensor([width], noise("gain", [width])), "gain");
  const v = g.constant(float32Tensor([width, 4], noise("v", [width, 4])), "v");
  g.output(g.op("MatMul", [norm(g, h, gain), v], {}, "y"), "f32", [3, 5, 4]);
  return verify(g.finish());
}

const norms: Readonly<Record<string, { readonly opset: number; readonly norm: Norm }>> = {
  RMSNormalization: { opset: 23, norm: (g, h, gain) => g.op("RMSNormalization", [h, gain], epsilon) },
  SimplifiedLayerNormalization: {
    opset: 17,
    norm: (g, h, gain) => g.op("SimplifiedLayerNormalization", [h, gain], epsilon),
  },
  SkipSimplifiedLayerNormalization: {
    opset: 17,
    norm: (g, h, gain) => {
      const half = g.op("Mul", [h, g.float32([0.5], [])]);
      return g.op("com.microsoft::SkipSimplifiedLayerNormalization", [h, half, gain], epsilon);
    },
  },
  "a mean of squares, written out": {
    opset: 17,
    norm: (g, h, gain) => {
      const squares = g.op("Pow", [h, g.float32([2], [])]);
      const axes = { axes: { kind: "ints" as const, value: [-1] } };
      const mean = g.op("Add", [g.op("ReduceMean", [squares], axes), g.float32([0.05], [])]);
      return g.op("Mul", [g.op("Div", [h, g.op("Sqrt", [mean])]), gain]);
    },
  },
};

const x = float32Tensor([3, 5, 6], noise("x", [3, 5, 6]));

async function outputs(graph: ReturnType<typeof network>): Promise<Float32Array> {
  const y = (await evaluate(runtime, graph, ["y"], new Map([["x", x]]))).get("y");
  return y === undefined ? new Float32Array(0) : toFloat32(y);
}

function distance(a: Float32Array, b: Float32Array): number {
  return a.length === b.length ? Math.max(...a.map((n, i) => Math.abs(n - (b[i] ?? 0)))) : Number.POSITIVE_INFINITY;
}

async function pruned(norm: Norm, opset: number) {
  const graph = network(norm, opset, false);
  const { coupling, facts } = await analyse(graph, runtime);
  const group = coupling.groups.find(({ size, blocked }) => size === width && blocked.length === 0);
  if (group === undefined) throw new Error("no group of channels");
  const masks = new Map([[group, Uint8Array.from({ length: width }, (_, i) => (removed.includes(i) ? 0 : 1))]]);
  return { small: verify(await cut(graph, coupling, facts, masks)), reference: masked(graph, coupling, facts, masks) };
}

describe("a root-mean-square norm gives what it gave with zeros in the removed channels", () => {
  it.each(Object.keys(norms))("%s", async (name) => {
    const { norm, opset } = norms[name] ?? { norm: () => "", opset: 0 };
    const { small, reference } = await pruned(norm, opset);
    expect(small.constants.get("gain")?.shape).toEqual([width - removed.length]);
    expect(distance(await outputs(small), await outputs(network(norm, opset, true)))).toBeLessThan(1e-5);
    expect((await checkLaw(runtime, reference, small, [new Map([["x", x]])])).relative).toBeLessThan(1e-5);
    // The reference is the mask alone: nothing is gathered.
    expect(reference.nodes.map(({ op }) => op)).not.toContain("Gather");
  });

  it("a centred norm does not, nor does a gain that two nodes share lose its value", async () => {
    const centred: Norm = (g, h, gain) => g.op("LayerNormalization", [h, gain], epsilon);
    const { small } = await pruned(centred, 17);
    expect(distance(await outputs(small), await outputs(network(centred, 17, true)))).toBeGreaterThan(1e-2);
    const shared: Norm = (g, h, gain) => g.op("Mul", [g.op("RMSNormalization", [h, gain], epsilon), gain]);
    const twice = await pruned(shared, 23);
    expect(distance(await outputs(twice.small), await outputs(network(shared, 23, true)))).toBeLessThan(1e-5);
  });
});
