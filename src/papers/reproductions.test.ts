import { expect, it } from "vitest";
import type { Reproduction } from "../claims/paper.ts";
import { asLongAs, type Bench, type Comparison, dense, type TrainingComparison } from "../claims/reproduction.ts";
import { baselines, trainingBaselines } from "../testbeds/bench/baselines.ts";
import { testbedIds } from "../testbeds/open.node.ts";
import { papers } from "./registry.ts";

/** What a paper's reproduction asks of its bench. */
async function asked({ run }: Pick<Reproduction, "run">): Promise<Comparison | TrainingComparison> {
  const stop = new Error("stop");
  let found: Comparison | TrainingComparison | undefined;
  const note = (comparison: Comparison | TrainingComparison): Promise<never> => {
    found = comparison;
    return Promise.reject(stop);
  };
  const bench: Bench = { compare: note, train: note };
  await expect(run(bench)).rejects.toBe(stop);
  return found ?? expect.fail();
}

/** Fails where an expectation names an arm or a share that is not measured, or an arm cannot be made. */
function expectSound({ removed, arms, expect: expected, ...rest }: Comparison | TrainingComparison): void {
  const own = Object.keys(arms);
  const { budget = "weights" } = rest;
  const trained = trainingBaselines(budget === "weights" ? budget : "macs");
  const others = Object.keys({ ...baselines({ budget }), ...trained });
  for (const { better, than, at } of expected) {
    expect([dense, ...own, ...others]).toContain(better);
    expect([dense, ...own, ...others, ...expected.map((one) => asLongAs(one.better))]).toContain(than);
    expect(removed).toEqual(expect.arrayContaining([...at]));
  }
  for (const arm of Object.values(arms)) {
    if (typeof arm !== "function") expect(arm.plan({ removed: 0.5, seed: 0 }).kind).toBeTypeOf("string");
    else {
      const made = arm({ removed: 0.5, seed: 0 });
      for (const { kind } of "kind" in made ? [made] : made) expect(kind).toBeTypeOf("string");
    }
  }
}

const runs = papers.flatMap(({ id, reproductions }) =>
  reproductions.map((one) => [one.on === null ? id : `${id} on ${one.on}`, one] as const),
);

it.each(runs)("%s compares what it measures", async (_, reproduction) => {
  expectSound(await asked(reproduction));
  expect(testbedIds).toEqual(expect.arrayContaining([...reproduction.testbeds]));
});

it("an expectation of an arm that does not run is caught", async () => {
  const comparison = await asked(runs[0]?.[1] ?? expect.fail());
  expect(() =>
    expectSound({ ...comparison, expect: [{ better: "nobody", than: "random", at: [0.5], by: 0 }] }),
  ).toThrow();
  expect(() => expectSound({ ...comparison, removed: [0.123] })).toThrow();
});
