import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Growth, growGreedily } from "./greedy.ts";

/** Worths of the steps of each thing, and what a step of it costs. */
const things = fc.array(
  fc.record({
    worths: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 6 }),
    cost: fc.integer({ min: 1, max: 9 }),
  }),
  { maxLength: 8 },
);

type Things = readonly { readonly worths: readonly number[]; readonly cost: number }[];

function run(list: Things, budget: number, grow: (growth: Growth) => void): { made: number[]; left: number } {
  const done = list.map(() => 0);
  const made: number[] = [];
  let left = budget;
  grow({
    count: list.length,
    worth: (i) => {
      const value = list[i]?.worths[done[i] ?? 0];
      // The rest of the halves decides among equal ones.
      return value === undefined ? null : [value >> 1, value % 2];
    },
    take: (i) => {
      const cost = list[i]?.cost ?? 0;
      if (cost > left) return false;
      left -= cost;
      done[i] = (done[i] ?? 0) + 1;
      made.push(i);
      return true;
    },
  });
  return { made, left };
}

/** The same by looking at everything before every step. */
function plainly({ count, worth, take }: Growth): void {
  const closed = new Set<number>();
  for (;;) {
    let best: { readonly i: number; readonly value: number } | null = null;
    for (let i = 0; i < count; i++) {
      const [first = 0, second = 0] = (closed.has(i) ? null : worth(i)) ?? [-1];
      const value = 2 * first + second;
      if (value >= 0 && (best === null || value > best.value)) best = { i, value };
    }
    if (best === null) return;
    if (!take(best.i)) closed.add(best.i);
  }
}

describe("greedy growth", () => {
  it("makes the steps that looking at everything every time makes", () => {
    fc.assert(
      fc.property(things, fc.integer({ min: 0, max: 60 }), (list, budget) => {
        expect(run(list, budget, growGreedily)).toEqual(run(list, budget, plainly));
      }),
    );
  });

  it("goes on with others when one no longer fits", () => {
    const list = [
      { worths: [9, 9], cost: 5 },
      { worths: [1, 1, 1], cost: 1 },
    ];
    expect(run(list, 7, growGreedily).made).toEqual([0, 1, 1]);
  });
});
