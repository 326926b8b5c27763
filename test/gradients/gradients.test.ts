import { afterAll, describe, expect, it } from "vitest";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { differenceCases, titleOf } from "./cases.ts";
import { differenceOf } from "./check.ts";
import { loweredCases } from "./lowered.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

describe("derivatives equal central differences", () => {
  it.each([...differenceCases, ...loweredCases].map((one) => [titleOf(one), one] as const))("%s", async (_, one) => {
    const { first, second } = await differenceOf(runtime, one);
    const tolerance = one.dtype === "f32" ? 1e-2 : 1e-6;
    expect(first).toBeLessThan(tolerance);
    if (second !== null) expect(second).toBeLessThan(one.dtype === "f32" ? 2e-2 : 1e-5);
  });

  it("sees a gradient that is a hundredth too large", async () => {
    const found = await differenceOf(
      runtime,
      { op: "Tanh", inputs: [{ shape: [2, 3] }] },
      { plant: (g, value) => g.mul(value, 1.01) },
    );
    expect(found.first).toBeGreaterThan(5e-3);
  });
});
