import { describe, expect, it } from "vitest";
import { random } from "../tensor/random.ts";
import { type LinearProgram, minimise } from "./mip.ts";
import { type Choice, multipleChoice } from "./multiple-choice.ts";

/** Least cost over all 0/1 points; infinite where none is feasible. */
function bruteForce({ costs, rows }: LinearProgram): number {
  let best = Number.POSITIVE_INFINITY;
  for (let bits = 0; bits < 2 ** costs.length; bits++) {
    const x = (i: number) => (bits >> i) & 1;
    const feasible = rows.every(({ terms, low = -1e9, high = 1e9 }) => {
      const sum = terms.reduce((s, [v, c]) => s + c * x(v), 0);
      return sum >= low && sum <= high;
    });
    if (feasible)
      best = Math.min(
        best,
        Array.from(costs).reduce((s, c, i) => s + c * x(i), 0),
      );
  }
  return best;
}

describe("minimise", () => {
  it("equals brute force on random 0/1 programs", async () => {
    for (let seed = 0; seed < 12; seed++) {
      const r = random(seed);
      const n = 1 + r.int(9);
      const program: LinearProgram = {
        costs: Array.from({ length: n }, () => r.int(21) - 10),
        rows: Array.from({ length: 1 + r.int(4) }, () => ({
          terms: [...r.sample(n, 1 + r.int(n))].map((v) => [v, r.int(13) - 4] as const),
          ...(r.int(2) === 0 ? { low: r.int(8) } : {}),
          high: 2 + r.int(12),
        })),
      };
      const best = bruteForce(program);
      const found = await minimise(program);
      expect(found.status).toBe(best === Number.POSITIVE_INFINITY ? "infeasible" : "optimal");
      expect(found.value).toEqual(best === Number.POSITIVE_INFINITY ? Number.NaN : best);
    }
  });

  it("agrees with the knapsack by dynamic programming", async () => {
    const r = random(5);
    const groups: Choice[][] = Array.from({ length: 8 }, () =>
      Array.from({ length: 4 }, () => ({ cost: 1 + r.int(40), loss: r.int(1000) })),
    );
    const flat = groups.flat();
    const program: LinearProgram = {
      costs: flat.map((c) => c.loss),
      rows: [
        ...groups.map((g, i) => ({ terms: g.map((_, k) => [4 * i + k, 1] as const), low: 1, high: 1 })),
        { terms: flat.map((c, i) => [i, c.cost] as const), high: 120 },
      ],
    };
    const { value, x } = await minimise(program);
    expect(value).toBe(multipleChoice(groups, 120).loss);
    expect(value).not.toBe(multipleChoice(groups, 90).loss);
    expect(x.every((v) => v === 0 || v === 1)).toBe(true);
  });

  it("solves programs over the reals, and tells an unbounded one", async () => {
    const rows = [
      {
        terms: [
          [0, 1],
          [1, 2],
        ] as const,
        high: 4,
      },
      {
        terms: [
          [0, 3],
          [1, 1],
        ] as const,
        high: 6,
      },
    ];
    const upper = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    const found = await minimise({ costs: [-1, -1], rows, upper, integer: [false, false] });
    expect(found.value).toBeCloseTo(-2.8, 9);
    expect([...found.x]).toEqual([expect.closeTo(1.6, 9), expect.closeTo(1.2, 9)]);
    expect((await minimise({ costs: [-1], rows: [], upper })).status).toBe("unbounded");
    expect(await minimise({ costs: [], rows: [] })).toEqual({ status: "optimal", x: new Float64Array(), value: 0 });
  });

  it("refuses what is no program", async () => {
    await expect(minimise({ costs: [Number.NaN], rows: [] })).rejects.toThrow("expected finite costs");
    await expect(minimise({ costs: [1], rows: [{ terms: [[1, 1]] }] })).rejects.toThrow("got 1");
    const twice = [
      [0, 1],
      [0, 2],
    ] as const;
    await expect(minimise({ costs: [1], rows: [{ terms: twice }] })).rejects.toThrow("each once");
  });
});
