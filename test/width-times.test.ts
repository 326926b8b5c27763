import { afterAll, describe, expect, it } from "vitest";
import { analyse } from "../src/models/analysis.ts";
import { latencyFeeds } from "../src/pipeline/measuring/latency-feeds.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../src/runtime/runtime.ts";
import { widthsOf, widthTimes } from "../src/search/width-times.ts";
import { EspalierError } from "../src/tensor/error.ts";
import { openSkeletons } from "./fixtures/skeletons.ts";

const real = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => real.close());

/** Runs every part once, which shows that it runs. */
const once: Runtime = { ...real, measure: (jobs) => real.measure(jobs, { runs: 1, warmup: 0 }) };

const skeletons = openSkeletons(new URL("./fixtures/extra.br", import.meta.url));

async function timesOf(name: string, runtime: Runtime) {
  const { graph } = await skeletons.model(name);
  const analysis = await analyse(graph, real);
  const groups = analysis.coupling.groups.filter(({ blocked }) => blocked.length === 0);
  const feeds = await latencyFeeds(analysis, 3);
  const times = await widthTimes({ runtime, analysis, feeds }, groups, ({ size }) => [Math.ceil(size / 2), size]);
  return { groups, times };
}

describe("times of the parts around groups", () => {
  it.each(["bert", "llama", "gru_bidirectional", "mobilenet_se", "unet", "norms", "qdq", "half", "opset9"])(
    "%s: the part of every group runs alone, whole and with half of its units",
    async (name) => {
      const { groups, times } = await timesOf(name, once);
      expect(groups.length).toBeGreaterThan(1);
      for (const group of groups) {
        expect([...(times.get(group)?.keys() ?? [])], group.id).toEqual([Math.ceil(group.size / 2), group.size]);
        for (const ms of times.get(group)?.values() ?? []) expect(ms).toBeGreaterThanOrEqual(0);
      }
    },
  );

  it("are absent where a part does not run", async () => {
    const refusing: Runtime = {
      ...once,
      measure: () => Promise.reject(new EspalierError("runtime", "part", "expected positions in range, got others.")),
    };
    expect((await timesOf("unet", refusing)).times.size).toBe(0);
  });

  it("are taken at sixteen widths at most, full width always among them", () => {
    expect(widthsOf(16, "auto", 1)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
    expect(widthsOf(40, "auto", 1)).toEqual([4, 8, 12, 16, 20, 24, 28, 32, 36, 40]);
    expect(widthsOf(100, 16, 1)).toEqual([16, 32, 48, 64, 80, 96, 100]);
    expect(widthsOf(8, "auto", 6)).toEqual([6, 7, 8]);
    expect(widthsOf(4, 16, 1)).toEqual([4]);
    expect(widthsOf(4096, 16, 1)).toHaveLength(16);
  });
});
