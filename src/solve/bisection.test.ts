import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bisect, bisectAsync } from "./bisection.ts";

describe("bisect", () => {
  it("equals trying every integer, on rising and falling steps", () => {
    const steps = fc.array(fc.constantFrom(0, 0, 1, 5), { minLength: 1, maxLength: 40 });
    void fc.assert(
      fc.property(steps, fc.integer({ min: -3, max: 120 }), fc.boolean(), (increments, target, falling) => {
        let sum = 0;
        const rising = increments.map((d) => (sum += d));
        const values = falling ? rising.toReversed() : rising;
        const found = bisect((x) => values[x] ?? Number.NaN, {
          low: 0,
          high: values.length - 1,
          target,
          integer: true,
        });
        const allowed = values.filter((v) => v <= target);
        const best = allowed.length > 0 ? Math.max(...allowed) : Math.min(...values);
        expect(found.value).toBe(best);
        expect(values[found.x]).toBe(best);
        expect(found.reached).toBe(allowed.length > 0);
        expect(found.evaluations).toBeLessThanOrEqual(8);
        if (!found.reached || allowed.length === values.length) return;
        expect(values[found.x + (falling ? -1 : 1)]).toBeGreaterThan(target);
      }),
      { numRuns: 500 },
    );
  });

  it("finds roots of real functions from below", () => {
    const found = bisect((x) => x * x, { low: 0, high: 2, target: 2, tolerance: 1e-9 });
    expect(found.x).toBeCloseTo(Math.SQRT2, 8);
    expect(found.value).toBeLessThanOrEqual(2);
    expect(bisect((x) => -x, { low: 0, high: 1, target: -0.25 }).x).toBeCloseTo(0.25, 5);
  });

  it("stops early when close enough or out of evaluations", () => {
    expect(bisect((x) => x, { low: 0, high: 1, target: 0.7, closeEnough: 0.1 }).evaluations).toBeLessThan(8);
    expect(bisect((x) => x, { low: 0, high: 1, target: 0.7, maxEvaluations: 5 }).evaluations).toBe(5);
    expect(bisect((x) => x, { low: 0, high: 1, target: 0, tolerance: 0 }).value).toBe(0);
  });

  it("keeps the best it saw when the function is noisy", () => {
    const noisy = (x: number) => x + (x > 40 && x < 50 ? 20 : 0);
    const found = bisect(noisy, { low: 0, high: 100, target: 60, integer: true });
    expect(found.value).toBe(60);
    expect(noisy(found.x)).not.toBeGreaterThan(60);
  });

  it("waits for functions that take their time", async () => {
    const found = await bisectAsync(async (x) => 3 * x, { low: 0, high: 10, target: 10, integer: true });
    expect(found).toMatchObject({ x: 3, value: 9, reached: true });
  });

  it("refuses what is no search", () => {
    expect(() => bisect((x) => x, { low: 2, high: 1, target: 0 })).toThrow("expected a range and a target, got 2 to 1");
    expect(() => bisect((x) => x, { low: 0.2, high: 0.8, target: 0, integer: true })).toThrow("expected a range");
    expect(() => bisect(() => Number.NaN, { low: 0, high: 1, target: 0 })).toThrow("expected a number at 0, got NaN");
  });
});
