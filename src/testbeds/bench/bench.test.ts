import { afterAll, beforeAll, expect, it } from "vitest";
import type { Comparison } from "../../claims/reproduction.ts";
import { wanda } from "../../criteria/inputs/wanda.ts";
import { withLabels } from "../../data/from-tensors.ts";
import { layered } from "../../plans/layered.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import { openTestbed, testbedIds } from "../open.node.ts";
import type { Testbed } from "../testbed.ts";
import { tinyInputs, tinyNet } from "../tiny-net.ts";
import { benchOn } from "./bench.ts";
import { classify } from "./classify.ts";

let runtime: Runtime;
let testbed: Testbed;

/** The tiny network with its own answers as labels, so that it is always right before pruning. */
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
  const inputs = tinyInputs(200, 1);
  const session = await runtime.compile(tinyNet().onnx.graph);
  const labels: number[] = [];
  for await (const batch of inputs.batches(200)) {
    const logits = toFloat32([...(await session.run(batch.inputs)).values()][0] ?? expect.fail("no output"));
    for (let s = 0; s < 200; s++) {
      const own = [...logits.subarray(5 * s, 5 * s + 5)];
      labels.push(own.indexOf(Math.max(...own)));
    }
  }
  await session.release();
  testbed = {
    id: "tiny",
    description: "tiny",
    model: tinyNet(),
    pool: tinyInputs(64, 2),
    test: withLabels(inputs, Int32Array.from(labels), "own answers"),
    noise: (count, seed) => tinyInputs(count, seed),
  };
});
afterAll(() => runtime.close());

const comparison: Comparison = {
  budget: "weights",
  removed: [0.3, 0.6],
  calibration: 16,
  arms: {
    magnitude: { plan: ({ removed }) => layered(removed, "uniform") },
    wanda: { plan: ({ removed }) => ({ ...layered(removed, "uniform"), criterion: wanda() }) },
    "on noise": { plan: ({ removed }) => ({ ...layered(removed, "uniform"), criterion: wanda() }), data: "noise" },
  },
  expect: [
    { better: "magnitude", than: "random", at: [0.3], by: 5 },
    { better: "random", than: "magnitude", at: [0.3], by: 5 },
  ],
};

it("measures every arm and the baselines at every share, drawn ones once per draw", async () => {
  const { measurements, dense, checks, verdict } = await benchOn(testbed, { runtime, draws: 2 }).compare(comparison);
  expect(dense).toMatchObject({ accuracy: 100, samples: 200 });
  const counts = measurements.map(({ arm, removed, accuracy }) => [arm, removed, accuracy.length]);
  const at = (removed: number) => [
    ["magnitude", removed, 1],
    ["wanda", removed, 2],
    ["on noise", removed, 2],
    ["random", removed, 2],
    ["global magnitude", removed, 1],
  ];
  expect(counts).toEqual([...at(0.3), ...at(0.6)]);
  for (const { really, removed, cost, arm } of measurements) {
    expect(Math.abs(really - removed)).toBeLessThan(0.002);
    expect(cost.forwardMacs > 0).toBe(arm === "wanda" || arm === "on noise");
  }
  // One expectation is the other turned round, so that exactly one can hold.
  expect(checks.map(({ holds }) => holds)).toEqual([true, false]);
  expect(checks[0]?.difference).toBeCloseTo(-(checks[1]?.difference ?? 0), 9);
  expect(verdict).toBe("partly");
});

it("only the asked shares, and an unknown arm or share is refused", async () => {
  const bench = benchOn(testbed, { runtime, draws: 1, at: [0.6] });
  const findings = await bench.compare(comparison);
  expect(findings.measurements.every(({ removed }) => removed === 0.6)).toBe(true);
  expect(findings.checks).toEqual([]);
  expect(findings.verdict).toBe("not at this scale");
  await expect(benchOn(testbed, { runtime, at: [0.5] }).compare(comparison)).rejects.toThrow(
    "expected one of 0.3, 0.6",
  );
  const wrong = { ...comparison, expect: [{ better: "nobody", than: "random", at: [0.3], by: 0 }] } as const;
  await expect(bench.compare(wrong)).rejects.toThrow("expected one of magnitude, wanda, on noise");
});

it("classify counts a model that answers wrongly as wrong", async () => {
  const shifted = withLabels(tinyInputs(200, 1), new Int32Array(200).fill(4), "always the last class");
  const own = await classify(runtime, tinyNet().onnx.graph, testbed.test);
  const found = await classify(runtime, tinyNet().onnx.graph, shifted, 64);
  expect(own.accuracy).toBe(100);
  expect(found.accuracy).toBeLessThan(90);
  expect(found.nll).toBeGreaterThan(own.nll);
  await expect(classify(runtime, tinyNet().onnx.graph, tinyInputs(3))).rejects.toThrow("expected labels");
});

it("testbeds open or say what they need; an unknown one is refused", async () => {
  for (const id of testbedIds) {
    const opened = await openTestbed(id, { samples: 20 });
    if ("absent" in opened) expect(opened.absent).toMatch(/not here\. /);
    else expect([opened.test.count, opened.test.labelled]).toEqual([20, true]);
  }
  await expect(openTestbed("glyps")).rejects.toThrow('Did you mean "glyphs"?');
});
