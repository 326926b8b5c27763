import { afterAll, beforeAll, expect, it } from "vitest";
import type { Criterion, Statistic } from "../criteria/criterion.ts";
import { pathImportance } from "../criteria/gradients/path-importance.ts";
import { obsSequential } from "../criteria/inputs/obs-sequential.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { tinyInputs, tinyNet } from "../testbeds/tiny-net.ts";
import { statisticsFor } from "./statistics.ts";

let runtime: Runtime;
let analysis: Analysis;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  analysis = await analyse(tinyNet().onnx.graph, runtime);
});
afterAll(() => runtime.close());

const [data, general] = [tinyInputs(24, 0), tinyInputs(24, 9)];

const measured = (
  criterion: Pick<Criterion<Statistic>, "needs" | "path">,
  on = data,
  beside: typeof general | null = general,
) =>
  statisticsFor(analysis, analysis.matrices, { id: "asked", ...criterion }, on, {
    ...{ runtime, batchSize: 8, general: beside, seed: 1 },
  });

it("statistics of general data are those of the data itself", async () => {
  const compared = await measured({ needs: ["gradient", "generalGram", "generalGradient", "generalGradientSquare"] });
  const alone = await measured({ needs: ["gram", "gradient", "gradientSquare"] }, general, null);
  for (const matrix of analysis.matrices) {
    const [here, there] = [compared.matrices.get(matrix), alone.matrices.get(matrix)];
    expect(here?.generalGram).toEqual(there?.gram);
    expect(here?.generalGradient).toEqual(there?.gradient);
    expect(here?.generalGradientSquare).toEqual(there?.gradientSquare);
    expect(here?.gradient).not.toEqual(there?.gradient);
  }
});

it("what compares data needs both", async () => {
  await expect(measured({ needs: ["generalGram"] }, data, null)).rejects.toThrow(
    /asked: expected general data.*--general/s,
  );
});

it("importance along a path has what its anchor reads measured, and follows it", async () => {
  const path = { epochs: 1, batchSize: 8, rate: 0.05, clip: 1, expansion: "second-order" } as const;
  const scores = obsSequential("generalGram");
  const anchored = (share: number) => pathImportance({ ...path, anchor: { scores, strength: { share } } });
  const [free, none, held] = [
    await measured(pathImportance(path)),
    await measured(anchored(0)),
    await measured(anchored(1)),
  ];
  for (const matrix of analysis.matrices) {
    const [a, b, c] = [free, none, held].map((one) => one.matrices.get(matrix)?.pathImportance ?? expect.fail());
    if (a === undefined || b === undefined || c === undefined) expect.fail();
    expect(a).toHaveLength(matrix.rows * matrix.columns);
    for (const [i, value] of a.entries()) expect(b[i]).toBeCloseTo(value, 5);
    expect(c).not.toEqual(b);
  }
});
