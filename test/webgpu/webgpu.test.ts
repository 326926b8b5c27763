import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { ints } from "../../src/graph/attributes.ts";
import { edit } from "../../src/graph/edit.ts";
import { agreement } from "../../src/runtime/agreement.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { float32Tensor } from "../../src/tensor/numeric.ts";
import { criteriaCompared, pruneOn, sixChannels } from "./job.ts";
import { swiftShader } from "./swiftshader.ts";
import { trainOn } from "./train-job.ts";

const answerShape = z.array(
  z.object({
    criterion: z.string(),
    masks: z.record(z.string(), z.string()),
    nearTies: z.number(),
    agreement: z.object({ device: z.string(), reference: z.string(), relative: z.number() }).nullable(),
    original: z.array(z.number()),
    pruned: z.array(z.number()),
  }),
);

describe.skipIf(swiftShader === null)("webgpu on SwiftShader (needs chromium and libvulkan1)", () => {
  it("prunes as the processor does: outputs within 1e-3, masks equal but for counted near ties", async () => {
    const [onGpu, onCpu] = await Promise.all([
      runOnGpu("prune").then((answer) => answerShape.parse(answer)),
      withCpu(pruneOn),
    ]);
    for (const criterion of criteriaCompared) {
      const expected = onCpu.find((outcome) => outcome.criterion === criterion);
      const got = onGpu.find((outcome) => outcome.criterion === criterion);
      if (expected === undefined || got === undefined) throw new Error(`expected a run by ${criterion}.`);
      expect(Object.values(expected.masks).some((mask) => mask.includes("0"))).toBe(true);
      expect(flips(expected.masks, got.masks)).toBeLessThanOrEqual(got.nearTies);
      expect(furthest(expected.original, got.original)).toBeLessThan(1e-3);
      if (flips(expected.masks, got.masks) === 0) expect(furthest(expected.pruned, got.pruned)).toBeLessThan(1e-3);
      expect(expected.agreement).toBeNull();
      expect(got.agreement).toMatchObject({ device: "webgpu", reference: "cpu" });
      expect(got.agreement?.relative).toBeLessThan(1e-3);
    }
  }, 240_000);

  it("trains as the processor does: the same losses within 1e-3 over five updates", async () => {
    const [onGpu, onCpu] = await Promise.all([runOnGpu("train"), withCpu(trainOn)]);
    const got = z.array(z.number()).length(5).parse(onGpu);
    expect(furthest(onCpu, got)).toBeLessThan(1e-3);
    expect(furthest(onCpu, [...got.slice(1), 0])).toBeGreaterThan(1e-3);
  }, 240_000);
});

describe("agreement of two runtimes", () => {
  it("catches a planted fault: a device whose convolution with six input channels is wrong", async () => {
    const cpu = await openRuntime({ threads: 1, worker: false });
    const feeds = [new Map([["image", float32Tensor([1, 3, 16, 16], new Float32Array(768).fill(0.5))]])];
    const graph = sixChannels();
    const wrong: typeof cpu = {
      ...cpu,
      device: "webgpu",
      compile: (given) => {
        const draft = edit(given);
        const node = given.nodes.find(({ name, outputs }) => name === "wide" || outputs.includes("wide"));
        if (node !== undefined) draft.setAttributes(node, { pads: ints([0, 0, 2, 2]) });
        return cpu.compile(draft.finish());
      },
    };
    expect(await agreement(cpu, cpu, graph, feeds)).toMatchObject({ agrees: true, relative: 0 });
    expect(await agreement(wrong, cpu, graph, feeds)).toMatchObject({
      agrees: false,
      device: "webgpu",
      output: "logits",
    });
    await cpu.close();
  });

  it("sees masks that differ", () => {
    expect(flips({ a: "1101" }, { a: "1011" })).toBe(2);
    expect(flips({ a: "1101" }, {})).toBe(1);
  });
});

async function withCpu<T>(job: (runtime: Runtime) => Promise<T>): Promise<T> {
  const runtime = await openRuntime({ threads: 1, worker: false });
  try {
    return await job(runtime);
  } finally {
    await runtime.close();
  }
}

async function runOnGpu(job: "prune" | "train"): Promise<unknown> {
  const entry = fileURLToPath(new URL("./run-on-gpu.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", entry, job], {
    env: { ...process.env, ...swiftShader },
    maxBuffer: 2 ** 26,
    timeout: 200_000,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}

/** Units that one keeps and the other removes; an absent mask keeps all. */
function flips(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): number {
  let count = 0;
  for (const group of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const [first = "", second = ""] = [a[group], b[group]];
    for (let i = 0; i < Math.max(first.length, second.length); i++) {
      if ((first[i] ?? "1") !== (second[i] ?? "1")) count++;
    }
  }
  return count;
}

function furthest(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length || a.length === 0) return Number.POSITIVE_INFINITY;
  return a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? Number.NaN))), 0);
}
