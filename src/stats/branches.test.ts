import { afterAll, beforeAll, expect, it } from "vitest";
import type { Branch } from "../coupling/branches.ts";
import { branchesOf } from "../coupling/branches.ts";
import { randomInputs } from "../data/random-inputs.ts";
import { builder } from "../graph/builder.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { branchStatistics, type InfluenceOptions } from "./branches.ts";

const [samples, time, features] = [3, 4, 5];
const calibration = randomInputs([{ name: "x", dtype: "f32", dims: ["n", time, features] }], {
  count: samples,
  seed: 2,
});
const weights = new Float32Array(features * features);
random(1, "branch").fillNormal(weights, 0, 0.6);

let runtime: Runtime;
let analysis: Analysis;
let branches: readonly Branch[];
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
  const g = builder("branch", 17);
  const x = g.input("x", "f32", ["n", time, features]);
  const added = g.op("MatMul", [x, g.constant(float32Tensor([features, features], weights), "w")]);
  g.output(g.op("Add", [x, added], {}, "y"), "f32", ["n", time, features]);
  analysis = await analyse(g.finish(), runtime);
  branches = branchesOf(analysis.graph, analysis.coupling, analysis.facts);
});
afterAll(() => runtime.close());

/** Block influence by hand. */
async function byHand({ distance, tokens, excludeFirst }: InfluenceOptions): Promise<number> {
  const { inputs } = await calibration.gather(Int32Array.from({ length: samples }, (_, i) => i));
  const x = toFloat32(inputs.get("x") ?? expect.fail("no input"));
  const distances: number[] = [];
  for (let s = 0; s < samples; s++) {
    for (let t = 0; t < time; t++) {
      if (tokens === "last" ? t < time - 1 : excludeFirst && t === 0) continue;
      const a = [...x.subarray((s * time + t) * features, (s * time + t + 1) * features)];
      const b = a.map((value, j) => a.reduce((sum, each, i) => sum + each * (weights[i * features + j] ?? 0), value));
      const dot = (p: readonly number[], q: readonly number[]): number =>
        p.reduce((sum, v, i) => sum + v * (q[i] ?? 0), 0);
      const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
      distances.push(distance === "cosine" ? 1 - cosine : Math.acos(cosine) / Math.PI);
    }
  }
  return distances.reduce((sum, each) => sum + each, 0) / distances.length;
}

it.each<InfluenceOptions>([
  { distance: "cosine", tokens: "all", excludeFirst: false },
  { distance: "cosine", tokens: "all", excludeFirst: true },
  { distance: "angle", tokens: "all", excludeFirst: false },
  { distance: "angle", tokens: "last", excludeFirst: true },
])("block influence is the mean distance of the tokens that count: %o", async (options) => {
  const found = await branchStatistics(runtime, analysis, branches, calibration, { batchSize: 2, ...options });
  const [statistics] = found.values();
  expect(statistics?.influence).toBeCloseTo(await byHand(options), 5);
  // A tap that counted every token would give something else wherever some are left out.
  const other = await byHand({ distance: "cosine", tokens: "all", excludeFirst: false });
  const same = options.distance === "cosine" && !options.excludeFirst;
  expect(Math.abs((statistics?.influence ?? 0) - other) < 1e-5).toBe(same);
});
