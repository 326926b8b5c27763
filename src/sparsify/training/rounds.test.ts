import { describe, expect, it } from "vitest";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { slotName } from "../../train/step.ts";
import type { RunSnapshot } from "../../train/train.ts";
import { type RoundsOptions, rewinds, rounds } from "./rounds.ts";

const updates = 10;
const moment = slotName("momentum", "w");
const parameters = new Map([["w", [10]]]);

/** "Training" that adds i + 1 per update to weight i where the mask lets it, so that every state tells its history. */
function recorder() {
  const calls: { readonly from: RunSnapshot | null; readonly until: number | null }[] = [];
  const run: RoundsOptions["run"] = async (from, until) => {
    calls.push({ from, until });
    const start = from ?? {
      updates: 0,
      planned: updates,
      points: [],
      tensors: new Map([
        [
          "w",
          float32Tensor(
            [10],
            Float32Array.from({ length: 10 }, (_, i) => 0.5 + i / 100),
          ),
        ],
        [moment, float32Tensor([10], new Float32Array(10))],
        [slotName("mask", "w"), float32Tensor([10], new Float32Array(10).fill(1))],
        ["running", float32Tensor([1], Float32Array.of(0))],
      ]),
    };
    const end = until ?? updates;
    const steps = end - start.updates;
    const of = (name: string) => toFloat32(start.tensors.get(name) ?? expect.fail());
    const mask = of(slotName("mask", "w"));
    const tensors = new Map(start.tensors);
    tensors.set(
      "w",
      float32Tensor(
        [10],
        of("w").map((v, i) => (v + steps * (i + 1)) * (mask[i] ?? 0)),
      ),
    );
    tensors.set(
      moment,
      float32Tensor(
        [10],
        of(moment).map((v, i) => v + steps * (mask[i] ?? 0)),
      ),
    );
    tensors.set(
      "running",
      float32Tensor(
        [1],
        of("running").map((v) => v + steps),
      ),
    );
    return { ...start, tensors, updates: end };
  };
  return { run, calls };
}

const base = { parameters, sparsity: 1 - 0.8 ** 3, rounds: 3, scope: "global" } as const;
const numbersOf = (snapshot: RunSnapshot | null | undefined, name: string) => [
  ...toFloat32(snapshot?.tensors.get(name) ?? expect.fail()),
];

describe("rounds", () => {
  it("remove the same share of the survivors each time, and nothing comes back", async () => {
    const alive: number[] = [];
    const { run } = recorder();
    const last = await rounds({
      ...{ ...base, run, rewind: rewinds.init },
      afterRound: ({ last: { masks } }) => alive.push([...(masks.get("w") ?? [])].filter((bit) => bit === 1).length),
    });
    expect(alive).toEqual([10, 8, 6, 5]);
    expect([...(last.masks.get("w") ?? [])]).toEqual([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    expect(last.sparsity).toBeCloseTo(0.488, 10);
  });

  it.each([
    ["the first parameters", rewinds.init, 0, 0.59],
    ["an early update", rewinds.to(3), 3, 0.59 + 3 * 10],
    ["the first rate, with the weights", rewinds.rate, 0, 0.59 + 10 * 10],
    ["a late part of the schedule, with the weights", rewinds.tune(8), 8, 0.59 + 10 * 10],
  ] as const)("go back to %s", async (_, rewind, at, weight) => {
    const { run, calls } = recorder();
    await rounds({ ...base, rounds: 1, run, rewind });
    const start = calls.at(-1)?.from;
    expect(start?.updates).toBe(at);
    expect(numbersOf(start, "w")[9]).toBeCloseTo(weight, 4);
    expect(numbersOf(start, "w").filter((v) => v === 0)).toHaveLength(5);
    // Moments start anew; running statistics go back with the weights.
    expect(numbersOf(start, moment)).toEqual(new Array(10).fill(0));
    expect(numbersOf(start, "running")[0]).toBe(rewind.weights ?? 10);
    // The dense run is done once, in two parts where an early update is kept.
    expect(calls.length).toBe(rewind.weights === null ? 2 : 3);
  });

  it("a restart can draw anew, under the same masks", async () => {
    const { run, calls } = recorder();
    await rounds({
      ...{ ...base, rounds: 1, run, rewind: rewinds.init },
      restart: async ({ from, masks }) => ({
        from: { ...from, tensors: new Map(from.tensors).set("w", float32Tensor([10], new Float32Array(10).fill(7))) },
        masks,
      }),
    });
    expect(numbersOf(calls.at(-1)?.from, "w")).toEqual([0, 0, 0, 0, 0, 7, 7, 7, 7, 7]);
  });

  it("need at least one", async () => {
    await expect(rounds({ ...base, rounds: 0, run: recorder().run, rewind: rewinds.init })).rejects.toThrow(
      /at least one round/,
    );
  });
});
