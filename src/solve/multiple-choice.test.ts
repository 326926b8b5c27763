import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { random } from "../tensor/random.ts";
import { type Choice, multipleChoice } from "./multiple-choice.ts";

/** Least loss within the budget by trying everything; infinite where nothing fits. */
function bruteForce(groups: readonly (readonly Choice[])[], budget: number): number {
  const [first, ...rest] = groups;
  if (first === undefined) return budget >= 0 ? 0 : Number.POSITIVE_INFINITY;
  return Math.min(...first.map(({ cost, loss }) => loss + bruteForce(rest, budget - cost)));
}

function costOf(groups: readonly (readonly Choice[])[], picks: readonly number[]): number {
  return picks.reduce((sum, pick, g) => sum + (groups[g]?.[pick]?.cost ?? Number.NaN), 0);
}

const integerChoice = fc.record({ cost: fc.integer({ min: -5, max: 30 }), loss: fc.integer({ min: 0, max: 50 }) });
const realChoice = fc.record({
  cost: fc.double({ min: 0, max: 10, noNaN: true }),
  loss: fc.double({ min: 0, max: 5, noNaN: true }),
});
const groupsOf = (choice: fc.Arbitrary<Choice>) =>
  fc.array(fc.array(choice, { minLength: 1, maxLength: 5 }), { maxLength: 5 });

describe("multipleChoice", () => {
  it("equals brute force on integers", () => {
    void fc.assert(
      fc.property(
        groupsOf(integerChoice),
        fc.integer({ min: -10, max: 100 }),
        fc.constantFrom(1, 3),
        (groups, b, k) => {
          const scaled = groups.map((g) => g.map((c) => ({ ...c, cost: c.cost * k })));
          const best = bruteForce(scaled, b * k);
          if (best === Number.POSITIVE_INFINITY) {
            expect(() => multipleChoice(scaled, b * k)).toThrow("the cost of the cheapest choices");
            return;
          }
          const { picks, cost, loss, exact } = multipleChoice(scaled, b * k, { steps: 300 });
          expect(exact).toBe(true);
          expect(loss).toBe(best);
          expect(cost).toBe(costOf(scaled, picks));
          expect(cost).toBeLessThanOrEqual(b * k);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("never exceeds the budget when costs are real, and comes close to the best", () => {
    void fc.assert(
      fc.property(
        groupsOf(realChoice),
        fc.double({ min: 0, max: 40, noNaN: true }),
        fc.constantFrom(7, 2000),
        (groups, budget, steps) => {
          const best = bruteForce(groups, budget);
          if (best === Number.POSITIVE_INFINITY) return;
          const { picks, cost, loss } = multipleChoice(groups, budget, { steps });
          expect(costOf(groups, picks)).toBe(cost);
          expect(cost).toBeLessThanOrEqual(budget);
          expect(loss).toBeGreaterThanOrEqual(best - 1e-9);
          // Rounding up costs less than a step per group: so much less budget bounds the loss.
          const slack = budget * (1 - (groups.length + 1) / steps);
          expect(loss).toBeLessThanOrEqual(bruteForce(groups, slack) + 1e-9);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("would notice a greedy choice", () => {
    const groups = [
      [
        { cost: 0, loss: 10 },
        { cost: 6, loss: 0 },
      ],
      [
        { cost: 0, loss: 8 },
        { cost: 5, loss: 0 },
      ],
      [
        { cost: 0, loss: 8 },
        { cost: 5, loss: 0 },
      ],
    ];
    // The best gain first would take the 6 and leave 18 - 10 + 0 = 16.
    expect(multipleChoice(groups, 10)).toEqual({ picks: [0, 1, 1], cost: 10, loss: 10, exact: true });
  });

  it("spends nothing for no gain and takes forbidden options never", () => {
    const groups = [
      [
        { cost: 9, loss: 1 },
        { cost: 2, loss: 1 },
        { cost: 1, loss: Number.POSITIVE_INFINITY },
      ],
      [
        { cost: Number.POSITIVE_INFINITY, loss: 0 },
        { cost: 3, loss: 4 },
      ],
    ];
    expect(multipleChoice(groups, 100).picks).toEqual([1, 1]);
    expect(multipleChoice([], 1)).toEqual({ picks: [], cost: 0, loss: 0, exact: true });
    expect(() => multipleChoice(groups, 4)).toThrow("budget: expected at least 5");
    expect(() => multipleChoice([[]], 4)).toThrow("group 0: expected an option of finite cost and loss, got none.");
    expect(() => multipleChoice([[{ cost: Number.NaN, loss: 1 }]], 4)).toThrow("got NaN, 1");
    expect(() => multipleChoice(groups, Number.NaN)).toThrow("got NaN");
  });

  it("solves a network of layers with convex losses", () => {
    const r = random(1);
    const groups = Array.from({ length: 60 }, () => {
      const [size, weight] = [1000 + r.int(100_000), r.uniform()];
      return Array.from({ length: 21 }, (_, k) => ({
        cost: Math.round((size * k) / 20),
        loss: weight * (1 - k / 20) ** 2,
      }));
    });
    const budget = 0.4 * groups.reduce((sum, g) => sum + (g.at(-1)?.cost ?? 0), 0);
    const found = multipleChoice(groups, budget, { steps: 5000 });
    const uniform = groups.reduce((sum, g) => sum + (g[8]?.loss ?? 0), 0);
    expect(found.exact).toBe(false);
    expect(found.loss).toBeLessThan(uniform * 0.8);
    expect(found.cost / budget).toBeGreaterThan(0.995);
    expect(found.cost).toBeLessThanOrEqual(budget);
  });
});
