import { expect, it } from "vitest";
import type { Matrix } from "../coupling/matrices.ts";
import { matrixView } from "../criteria/weight-view.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import type { Graph } from "../graph/graph.ts";
import { gram as gramOf } from "../tensor/linalg/matrix.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { load, refOf, sizeOf } from "../tensor/tensor.ts";
import { noStatistics, pruneWeights } from "./prune-weights.ts";
import { sweep } from "./sweep/sweep.ts";
import { sweepWeights } from "./sweep-weights.ts";

/** One parameter in a given layout, with a Gram matrix for each group of rows. */
function one(shape: readonly number[], outputs: readonly number[], inputs: readonly number[], groups = 1) {
  const values = new Float32Array(sizeOf(shape));
  random(1, "w").fillNormal(values);
  const size = (axes: readonly number[]) => sizeOf(axes.map((axis) => shape[axis] ?? 1));
  const columns = size(inputs);
  const node = { name: "n", domain: "", op: "x", inputs: [], outputs: [], attributes: new Map() };
  const matrix: Matrix = {
    node,
    parameter: "w",
    shape,
    outputs,
    inputs,
    rows: size(outputs),
    columns,
    groups,
    data: null,
  };
  const gram = Array.from({ length: groups }, (_, g) => {
    const x = new Float64Array(3 * columns * columns);
    random(g, "x").fillNormal(x);
    return gramOf(x, 3 * columns, columns);
  });
  const constants = new Map([["w", refOf(float32Tensor(shape, values))]]);
  const graph: Graph = {
    ...{ name: "g", inputs: [], outputs: [], nodes: [], constants, opsets: new Map(), valueInfo: new Map() },
  };
  return { graph, matrix, gram };
}

async function rows(graph: Graph, matrix: Matrix): Promise<Float32Array> {
  const ref = graph.constants.get("w");
  if (ref === undefined) throw new Error("no weight");
  return Float32Array.from(matrixView(matrix, await load(ref)).values);
}

const layouts = [
  ["Gemm", one([6, 8], [0], [1])],
  ["MatMul", one([8, 6], [1], [0])],
  ["Conv", one([6, 4, 3], [0], [1, 2])],
  ["ConvTranspose", one([4, 6, 3], [1], [0, 2])],
  ["grouped Conv", one([6, 4, 3], [0], [1, 2], 3)],
] as const;

it.each(layouts)("%s: each group of rows is swept with its own Gram matrix", async (_, { graph, matrix, gram }) => {
  const settings = { blockSize: 3, order: "activation", damping: 0.05 } as const;
  const choose = { kind: "sparsity", sparsity: 0.5 } as const;
  const result = await sweepWeights(graph, [matrix], () => ({ gram }), { choose, ...settings });
  const before = await rows(graph, matrix);
  const after = await rows(result.graph, matrix);
  const part = before.length / gram.length;
  for (const [g, h] of gram.entries()) {
    const weights = before.subarray(g * part, (g + 1) * part);
    const swept = await sweep(weights, h, choose, settings);
    expect(after.subarray(g * part, (g + 1) * part)).toEqual(swept.weights);
  }
  expect(result.layers).toEqual([{ name: "w", before: before.length, after: before.length / 2 }]);
  expect(after.reduce((sum, v) => sum + +(v !== 0), 0)).toBe(before.length / 2);
});

it.each(layouts)("%s: the zeros of another version are kept", async (_, { graph, matrix, gram }) => {
  const selection = { pattern: { kind: "element" }, scope: "row", profile: "uniform", sparsity: 0.5 } as const;
  const masked = await pruneWeights(graph, [matrix], magnitude(2), selection, noStatistics);
  const choose = { kind: "zeros-of", graph: masked.graph } as const;
  const result = await sweepWeights(graph, [matrix], () => ({ gram }), { choose });
  const zeros = (values: Float32Array) => Array.from(values, (v) => v === 0);
  const swept = await rows(result.graph, matrix);
  expect(zeros(swept)).toEqual(zeros(await rows(masked.graph, matrix)));
  expect(swept).not.toEqual(await rows(masked.graph, matrix));
});

it("matrices with the same inputs share a factor", async () => {
  const { graph, matrix, gram } = one([6, 8], [0], [1]);
  const constants = new Map(["w", "v", "u"].map((name) => [name, graph.constants.get("w") ?? missing()]));
  const [w, v, u] = ["w", "v", "u"].map((parameter) => ({ ...matrix, parameter }));
  if (w === undefined || v === undefined || u === undefined) throw new Error("no matrices");
  const other = gram.map((h) => h.slice());
  let reads = 0;
  // A factorisation starts by copying the Gram matrix.
  for (const [h = new Float64Array(0)] of [gram, other]) {
    const slice = h.slice.bind(h);
    h.slice = () => {
      reads++;
      return slice();
    };
  }
  const choose = { kind: "sparsity", sparsity: 0.5 } as const;
  const statistics = (of: Matrix | null) => ({ gram: of?.parameter === "u" ? other : gram });
  const result = await sweepWeights({ ...graph, constants }, [w, v, u], statistics, { choose });
  expect(reads).toBe(2);
  expect(result.graph.constants.get("u")?.resident).toEqual(result.graph.constants.get("w")?.resident);
});

function missing(): never {
  throw new Error("no weight");
}

it("says what was left out, and refuses what makes no sense", async () => {
  const { graph, matrix } = one([6, 7], [0], [1]);
  const choose = { kind: "sparsity", sparsity: 0.5 } as const;
  const none = await sweepWeights(graph, [matrix], () => undefined, { choose });
  expect(none.skipped).toEqual([{ name: "w", reason: "calibration measured nothing for it" }]);
  expect(none.graph.constants.get("w")).toBe(graph.constants.get("w"));
  const pattern = { kind: "pattern", pattern: { kind: "n:m", keep: 2, of: 4 } } as const;
  const odd = await sweepWeights(graph, [matrix], () => ({ gram: [new Float64Array(49)] }), { choose: pattern });
  expect(odd.skipped).toEqual([{ name: "w", reason: "4 does not divide its 7 inputs" }]);
  await expect(
    sweepWeights(graph, [matrix], () => undefined, { choose: { kind: "sparsity", sparsity: 2 } }),
  ).rejects.toThrow("--sparsity: expected a fraction from 0 to 1, got 2.");
});
