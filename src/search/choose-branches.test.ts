import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { branchesOf } from "../coupling/branches.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { chainInputs, tinyChain } from "../testbeds/tiny-net.ts";
import { type ChoiceOptions, chooseBranches, type ScoredSpan, scoreBranches, spansOf } from "./choose-branches.ts";

let runtime: Runtime;
let analysis: Analysis;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
  analysis = await analyse(tinyChain().onnx.graph, runtime);
});
afterAll(() => runtime.close());

/** Six branches, each 192 of 1216 parameters. */
async function scored(criterion: "last" | "influence", span = 1): Promise<readonly ScoredSpan[]> {
  const { graph, coupling, facts } = analysis;
  const calibration = criterion === "last" ? null : chainInputs(32);
  const context = { runtime, analysis, calibration, batchSize: 16, seed: 0 };
  return scoreBranches(context, spansOf(branchesOf(graph, coupling, facts), span), criterion, false);
}

const sums = (spans: readonly ScoredSpan[]) => spans.flatMap(({ branches }) => branches.map(({ sum }) => sum)).sort();

/** What is left of the parameters; a vector of zeros that stands where a branch was is not counted. */
const keptShare = (spans: readonly ScoredSpan[]): number => 1 - (192 * spans.length) / 1216;

it("the last go first, whole spans at a time", async () => {
  const some = (span: number, sparsity: number) =>
    scored("last", span).then((spans) => sums(chooseBranches(analysis, spans, { kind: "sparsity", sparsity })));
  expect(await some(1, 1 / 3)).toEqual(["sum.4", "sum.5"]);
  expect(await some(2, 1 / 3)).toEqual(["sum.4", "sum.5"]);
  expect(await some(2, 2 / 3)).toEqual(["sum.2", "sum.3", "sum.4", "sum.5"]);
});

describe.each(["last", "influence"] as const)("%s", (criterion) => {
  it.each([0, 0.1, 0.3, 192 / 1216, 384 / 1216])(
    "rounded up meets a share of %d, rounded down does not pass it",
    async (away) => {
      const spans = await scored(criterion);
      const target = { kind: "params", keep: 1 - away } as const;
      const choose = (options: ChoiceOptions) => chooseBranches(analysis, spans, target, options);
      const [up, down] = [choose({}), choose({ round: "down" })];
      expect(keptShare(up)).toBeLessThanOrEqual(1 - away + 1e-12);
      expect(keptShare(down)).toBeGreaterThanOrEqual(1 - away - 1e-12);
      // One more or one less would not do.
      expect(up.length - down.length).toBe(Number.isInteger(Math.round(1e9 * ((away * 1216) / 192)) / 1e9) ? 0 : 1);
      expect(sums(up)).toEqual(expect.arrayContaining(sums(down)));
    },
  );

  it("ends that are protected stay, whatever is asked for", async () => {
    const spans = await scored(criterion);
    const options = { protect: [1, 2], round: "down" } as const;
    const most = chooseBranches(analysis, spans, { kind: "params", keep: 0 }, options);
    expect(sums(most)).toEqual(["sum.1", "sum.2", "sum.3"]);
    expect(() => chooseBranches(analysis, spans, { kind: "params", keep: 0 }, { protect: [1, 2] })).toThrow(
      "Without any of the 3 branches",
    );
    expect(chooseBranches(analysis, spans, { kind: "params", keep: 0 }, { protect: [9, 9], round: "down" })).toEqual(
      [],
    );
    const half = chooseBranches(analysis, spans, { kind: "sparsity", sparsity: 0.45 }, { round: "down" });
    expect(half).toHaveLength(2);
  });
});
