import { afterAll, beforeAll, expect, it } from "vitest";
import type { Matrix } from "../coupling/matrices.ts";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { rateDistortion } from "../pipeline/choosing/rate-distortion.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { outputDistortion } from "../search/output-distortion.ts";
import { noStatistics, pruneWeights } from "../sparsify/prune-weights.ts";
import { countOf } from "../tensor/selection/select.ts";
import { type HostTensor, load, sizeOf } from "../tensor/tensor.ts";
import { tinyInputs, tinyNet } from "./tiny-net.ts";

let runtime: Runtime;
let analysis: Analysis;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
  analysis = await analyse(tinyNet().onnx.graph, runtime);
});
afterAll(() => runtime.close());

const steps = 4;
const calibration = tinyInputs(16);

async function masked(matrix: Matrix, sparsity: number): Promise<HostTensor> {
  const selection = { pattern: { kind: "element" }, scope: "tensor", profile: "uniform", sparsity } as const;
  const { graph } = await pruneWeights(analysis.graph, [matrix], magnitude(1), selection, noStatistics);
  const ref = graph.constants.get(matrix.parameter);
  if (ref === undefined) throw new Error(matrix.parameter);
  return load(ref);
}

function table(sparsity: number): Promise<ReadonlyMap<string, number>> {
  const { matrices } = analysis;
  const context = { runtime, analysis, matrices, masked, sparsity, calibration, batchSize: 16, job: {} };
  return rateDistortion({ steps, over: "mean" }).table(context);
}

const sizes = () => new Map(analysis.matrices.map(({ parameter, shape }) => [parameter, sizeOf(shape)]));

it.each([0, 0.3, 0.55, 0.9, 1])("removes exactly the asked share: %s", async (sparsity) => {
  const shares = await table(sparsity);
  const all = [...sizes()];
  const removed = all.reduce((sum, [name, size]) => sum + countOf(shares.get(name) ?? 0, size), 0);
  expect(removed).toBe(
    countOf(
      sparsity,
      all.reduce((sum, [, size]) => sum + size, 0),
    ),
  );
});

it("no other shares on the grid have a smaller sum of distortions", async () => {
  const sparsity = 0.5;
  const shares = await table(sparsity);
  const byName = new Map(analysis.matrices.map((matrix) => [matrix.parameter, matrix]));
  const variant = (name: string, strength: number) => {
    const matrix = byName.get(name);
    if (matrix === undefined) throw new Error(name);
    return masked(matrix, strength);
  };
  const grid = [0, 0.25, 0.5, 0.75, 1];
  const names = [...byName.keys()];
  const options = { batchSize: 16, over: "mean" } as const;
  const curves = await outputDistortion(runtime, analysis.graph, names, grid, variant, calibration, options);
  const rising = curves.map(({ points }) =>
    points.map((_, i) => Math.max(...points.slice(0, i + 1).map((p) => p.distortion))),
  );
  const all = names.map((name) => sizes().get(name) ?? 0);
  const wanted = countOf(
    sparsity,
    all.reduce((sum, size) => sum + size, 0),
  );
  let best = Number.POSITIVE_INFINITY;
  for (let code = 0; code < grid.length ** names.length; code++) {
    const picks = names.map((_, l) => Math.floor(code / grid.length ** l) % grid.length);
    const removed = picks.reduce((sum, pick, l) => sum + countOf(grid[pick] ?? 0, all[l] ?? 0), 0);
    const loss = picks.reduce((sum, pick, l) => sum + (rising[l]?.[pick] ?? 0), 0);
    if (removed >= wanted) best = Math.min(best, loss);
  }
  // Shares given back lie between two of the grid; what was picked is the next above.
  const sumAt = (of: ReadonlyMap<string, number>): number =>
    names.reduce((sum, name, l) => sum + (rising[l]?.[Math.ceil((of.get(name) ?? 0) * steps - 1e-9)] ?? 0), 0);
  expect(sumAt(shares)).toBeCloseTo(best, 9);
  expect(sumAt(new Map(names.map((name) => [name, sparsity])))).toBeGreaterThan(best);
});
