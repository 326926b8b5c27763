import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { magnitude } from "../criteria/weights/magnitude.ts";
import { layers, sparse, structured } from "../plans/methods.ts";
import type { BranchPlan, UnitPlan } from "../plans/plan.ts";
import { leastSquares } from "../recovery/lsq.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { chainInputs, tinyChain } from "../testbeds/tiny-net.ts";
import { prune } from "./prune.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const options = () => ({ runtime, calibration: chainInputs(48), measure: false });
const before: BranchPlan = { ...layers({ keepParams: 0.8 }), round: "down" };
const units = (keepParams: number): UnitPlan => ({ ...structured({ keepParams }), units: "neurons" });

describe("a plan that another precedes", () => {
  it("is both in turn, its target counted of the original", async () => {
    const model = tinyChain();
    const { report, model: small } = await prune(model, { ...units(0.6), before }, options());
    const first = await prune(model, before, options());
    const left = first.report.after.params / first.report.before.params;
    expect(left).toBeLessThan(0.9);
    const second = await prune(first.model, units(0.6 / left), options());
    expect(await small.encode()).toEqual(await second.model.encode());
    expect(report.after.params / report.before.params).toBeLessThanOrEqual(0.6);
    expect(report.after.params / report.before.params).toBeGreaterThan(0.55);
    expect(report.law?.passed).toBe(true);
    expect(report.layers.map(({ kind }) => kind)).toEqual([
      ...Array.from({ length: 6 }, () => "branches"),
      ...Array.from({ length: 5 }, () => "units"),
    ]);
  });

  it("removes nothing more where the first has removed enough, and can set weights to zero", async () => {
    const model = tinyChain();
    const first = await prune(model, before, options());
    const none = await prune(model, { ...units(0.9), before }, options());
    expect(await none.model.encode()).toEqual(await first.model.encode());
    const zeros = await prune(model, { ...sparse({ criterion: magnitude(1), sparsity: 0.5 }), before }, options());
    const { nonzero, params } = zeros.report.after;
    expect(nonzero / params).toBeLessThan(0.52);
    expect(params).toBe(first.report.after.params);
  });

  it("is repaired towards the original, not towards what the first left", async () => {
    const model = tinyChain();
    const plan = { ...units(0.6), before };
    const bare = await prune(model, plan, options());
    const repaired = await prune(model, { ...plan, recovery: [leastSquares()] }, options());
    const error = ({ report }: typeof bare) => report.fidelity?.relativeError ?? Number.NaN;
    expect(error(repaired)).toBeLessThan(0.8 * error(bare));
  });

  it("needs the data that the first needs", async () => {
    await expect(prune(tinyChain(), { ...units(0.6), before }, { runtime, measure: false })).rejects.toThrow(
      "influence",
    );
  });
});
