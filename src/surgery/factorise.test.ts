import { afterAll, describe, expect, it } from "vitest";
import { type Attributes, int, ints, string } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import type { Factors } from "../ops/factoring.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat64 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { load, sizeOf } from "../tensor/tensor.ts";
import { factorable, factorise, projected, type RankCut, rankFor, spectraOf, truncatedKernel } from "./factorise.ts";
import { checkLaw } from "./law.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

function noise(label: string, shape: readonly number[]) {
  const values = new Float32Array(sizeOf(shape));
  random(6, label).fillNormal(values);
  return float32Tensor(shape, values);
}

/** x through one operator with a kernel, and a bias where it is given one. */
function single(op: string, x: readonly number[], kernel: readonly number[], attributes: Attributes, bias = 0): Graph {
  const g = builder("single", 17);
  const inputs = [g.input("x", "f32", x), g.constant(noise("w", kernel), "w")];
  if (bias > 0) inputs.push(g.constant(noise("b", [bias]), "b"));
  g.output(g.op(op, inputs, attributes, "y"), "f32");
  return g.finish();
}

const picture = [2, 3, 9, 10];
const cases: readonly (readonly [name: string, graph: Graph])[] = [
  ["a window", single("Conv", picture, [5, 3, 3, 3], { pads: ints([1, 1, 1, 1]) }, 5)],
  [
    "a window that moves, with holes and uneven pads",
    single(
      "Conv",
      picture,
      [5, 3, 3, 2],
      { strides: ints([2, 1]), dilations: ints([1, 3]), pads: ints([2, 0, 1, 3]) },
      5,
    ),
  ],
  [
    "pads of its own choice",
    single("Conv", picture, [5, 3, 3, 4], { auto_pad: string("SAME_UPPER"), strides: ints([2, 3]) }),
  ],
  ["one axis", single("Conv", [2, 4, 11], [6, 4, 3], { strides: ints([2]) }, 6)],
  ["three axes", single("Conv", [1, 3, 5, 5, 4], [4, 3, 2, 2, 2], {}, 4)],
  ["a product", single("MatMul", [2, 3, 6], [6, 5], {})],
  ["a linear layer", single("Gemm", [4, 6], [5, 6], { transB: int(1) }, 5)],
  ["a linear layer the other way round", single("Gemm", [4, 6], [6, 5], {}, 5)],
  ["data the other way round", single("Gemm", [6, 4], [5, 6], { transA: int(1), transB: int(1) }, 5)],
  ["both the other way round", single("Gemm", [6, 4], [6, 5], { transA: int(1) }, 5)],
];

async function cutsOf(analysis: Analysis, factors: Factors, rank: number | "full"): Promise<readonly RankCut[]> {
  const { kernels } = factorable(analysis.graph, analysis.matrices, factors);
  return Promise.all(
    kernels.map(async (kernel) => ({
      kernel,
      spectra: await spectraOf(analysis.graph, kernel),
      rank: rank === "full" ? kernel.fullRank : rank,
    })),
  );
}

const feedsOf = (graph: Graph) => {
  const shape = (graph.inputs[0]?.dims ?? []).map((n) => (typeof n === "number" ? n : 2));
  return [new Map([["x", noise("x", shape)]])];
};

describe.each(cases)("%s", (_, graph) => {
  it("in two nodes is the same with the kernel of their product, and at full rank the same", async () => {
    const analysis = await analyse(graph, runtime);
    for (const factors of ["channel", "spatial", "decoupled"] as const) {
      for (const rank of [1, 2, "full"] as const) {
        const cuts = await cutsOf(analysis, factors, rank);
        if (cuts.length === 0) {
          expect(factors === "spatial" && graph.constants.get("w")?.shape.length !== 4).toBe(true);
          continue;
        }
        const small = factorise(graph, cuts);
        expect(small.constants.has("w")).toBe(false);
        const reference = rank === "full" ? graph : projected(graph, cuts);
        expect((await checkLaw(runtime, reference, small, feedsOf(graph))).relative).toBeLessThan(2e-6);
      }
    }
  });
});

it("factors of another rank than the product's are caught", async () => {
  const [, graph] = cases[0] ?? expect.fail();
  const analysis = await analyse(graph, runtime);
  const [one, two] = [await cutsOf(analysis, "channel", 1), await cutsOf(analysis, "channel", 2)];
  expect((await checkLaw(runtime, projected(graph, one), factorise(graph, two), feedsOf(graph))).passed).toBe(false);
});

it("costs what the ranks say: r(I·h·w + O), r(I·h + O·w) and r(I·O + O·h·w) multiply-accumulates a position", async () => {
  const [o, i, h, w, r] = [5, 3, 3, 3, 2];
  const graph = single("Conv", [1, i, 8, 8], [o, i, h, w], { pads: ints([1, 1, 1, 1]) });
  const analysis = await analyse(graph, runtime);
  const expected = { channel: r * (i * h * w + o), spatial: r * (i * h + o * w), decoupled: r * (i * o + o * h * w) };
  for (const factors of ["channel", "spatial", "decoupled"] as const) {
    const small = await analyse(factorise(graph, await cutsOf(analysis, factors, r)), runtime);
    expect(small.cost.total().macs / 64).toBe(expected[factors]);
  }
});

it("says why a kernel is left whole", async () => {
  const g = builder("whole", 17);
  const x = g.input("x", "f32", [1, 4, 5, 5]);
  const apart = g.op("Conv", [x, g.constant(noise("grouped", [4, 1, 3, 3]), "grouped")], { group: int(4) });
  const twice = g.constant(noise("twice", [4, 4, 1, 1]), "twice");
  g.output(g.op("Conv", [g.op("Conv", [apart, twice]), twice], {}, "y"), "f32");
  const { graph, matrices } = await analyse(g.finish(), runtime);
  const { kernels, skipped } = factorable(graph, matrices, "channel");
  expect(kernels).toEqual([]);
  expect(skipped.map(({ name, reason }) => `${name}: ${reason}`)).toEqual([
    "grouped: Conv has no channel factors here",
    "twice: it is read in several places",
    "twice: it is read in several places",
  ]);
});

it("a kernel cut while it is trained is that of the reference, and its directions make the nuclear norm", async () => {
  const [, graph] = cases[1] ?? expect.fail();
  const { matrices } = await analyse(graph, runtime);
  for (const factors of ["channel", "spatial", "decoupled"] as const) {
    const [kernel] = factorable(graph, matrices, factors).kernels;
    if (kernel === undefined) expect.fail();
    const spectra = await spectraOf(graph, kernel);
    const rule = { kind: "energy", share: 0.8 } as const;
    const cut = truncatedKernel(kernel, await load(graph.constants.get("w") ?? expect.fail()), rule);
    expect(cut.rank).toBe(rankFor(spectra, rule));
    // Blocks of an own rank each: the largest of them is that of the kernel.
    const own = spectra.map((each) => ({ ...each, rank: rankFor([each], rule) }));
    const nuclear = own.reduce((sum, { values, rank }) => sum + values.slice(0, rank).reduce((a, b) => a + b, 0), 0);
    const [values, directions] = [toFloat64(cut.tensor), toFloat64(cut.directions)];
    expect(values.reduce((sum, value, i) => sum + value * (directions[i] ?? 0), 0)).toBeCloseTo(nuclear, 4);
    const again = truncatedKernel(kernel, cut.tensor, { kind: "rank", rank: cut.rank });
    for (const [i, value] of toFloat64(again.tensor).entries()) expect(value).toBeCloseTo(values[i] ?? 0, 5);
  }
});
