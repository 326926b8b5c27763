import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { swiftShader } from "../../../test/webgpu/swiftshader.ts";
import { ints } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { openEngine } from "../ort/open-engine.node.ts";
import { runtimeOverEngine } from "../runtime-over-engine.ts";
import { openWorkerEngine } from "./worker-engine.node.ts";

const root = join(import.meta.dirname, "../../..");
let folder = "";
let entry = new URL("file:///");

// Node 20 loads no TypeScript into a worker, so the entry is bundled; inside the repository, for its node_modules.
beforeAll(async () => {
  folder = await mkdtemp(join(root, "node_modules/.espalier-worker-"));
  const input = join(import.meta.dirname, "runtime-worker.node.ts");
  await build({
    root,
    configFile: false,
    logLevel: "silent",
    build: { ssr: input, outDir: folder, rollupOptions: { output: { entryFileNames: "worker.mjs" } } },
  });
  entry = new URL(`file://${join(folder, "worker.mjs")}`);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Convolutions of 6 input channels, which are divisible by 3 and not by 4, heavy enough to be seen by a timer. */
function convolutions(size: number) {
  const g = builder("convolutions", 17);
  const weight = float32Tensor(
    [6, 6, 3, 3],
    Float32Array.from({ length: 324 }, (_, i) => ((i * 7) % 11) / 50 - 0.1),
  );
  let x = g.input("x", "f32", [1, 6, size, size]);
  for (let i = 0; i < 3; i++) x = g.op("Conv", [x, g.constant(weight, "w")], { pads: ints([1, 1, 1, 1]) });
  g.output(x, "f32", [1, 6, size, size]);
  const values = Float32Array.from({ length: 6 * size * size }, (_, i) => ((i * 13) % 17) / 17 - 0.5);
  return { graph: g.finish(), feeds: new Map([["x", float32Tensor([1, 6, size, size], values)]]) };
}

async function compute(opened: Awaited<ReturnType<typeof openEngine>>, size: number) {
  const { engine, ...settings } = opened;
  const runtime = runtimeOverEngine(engine, settings);
  const { graph, feeds } = convolutions(size);
  const session = await runtime.compile(graph);
  const out = await session.run(feeds);
  const latencies = await runtime.measure([{ session, feeds }], { runs: 2, warmup: 0 });
  await runtime.close();
  return { values: [...out.values()].map(toFloat32)[0] ?? new Float32Array(), latencies };
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs((a[i] ?? 0) - (b[i] ?? 0)));
  return largest;
}

describe("a worker", () => {
  it("computes what the calling thread computes, and leaves it free", async () => {
    const here = await compute(await openEngine("cpu", 1), 256);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const there = await compute(await openWorkerEngine(entry, { device: "cpu", threads: 1 }), 256);
    clearInterval(timer);
    expect(there.values).toEqual(here.values);
    expect(there.latencies[0]?.runs).toBe(2);
    expect(ticks).toBeGreaterThan(0);
    // The fault that the comparison must see.
    expect(
      largestDifference(
        here.values,
        here.values.map((value) => 2 * value),
      ),
    ).toBeGreaterThan(1e-3);
  });

  it("leaves the caller's tensors usable and brings errors back whole", async () => {
    const { engine, ...settings } = await openWorkerEngine(entry, { device: "cpu", threads: 1 });
    const runtime = runtimeOverEngine(engine, settings);
    const { graph, feeds } = convolutions(8);
    const session = await runtime.compile(graph);
    await session.run(feeds);
    const results = [...(await session.run(feeds))];
    expect(results.length).toBe(1);
    const into = new Map(results.map(([name, made]) => [name, { ...made, bytes: new Uint8Array(made.bytes.length) }]));
    const placed = await session.run(feeds, undefined, undefined, into);
    for (const [name, { bytes }] of results) {
      expect(placed.get(name)?.bytes).toBe(into.get(name)?.bytes);
      expect(into.get(name)?.bytes).toEqual(bytes);
    }
    const g = builder("unknown", 17);
    g.output(g.op("Reluu", [g.input("x", "f32", [1])], {}, "y"), "f32", [1]);
    await expect(runtime.compile(g.finish())).rejects.toMatchObject({ code: "runtime", name: "EspalierError" });
    await runtime.close();
  });

  it("is waited for no longer once the signal is aborted, however long a run takes", async () => {
    const stop = new AbortController();
    const { engine, ...settings } = await openWorkerEngine(entry, { device: "cpu", threads: 1 }, stop.signal);
    const runtime = runtimeOverEngine(engine, settings);
    const { graph, feeds } = convolutions(512);
    const session = await runtime.compile(graph);
    let answered = false;
    const measured = runtime.measure([{ session, feeds }], { runs: 100, maxSeconds: 4 }).then(
      () => {
        answered = true;
      },
      (reason: unknown) => reason,
    );
    stop.abort(new EspalierError("request", "SIGINT", "expected to finish, was stopped."));
    expect(await measured).toMatchObject({ where: "SIGINT" });
    await expect(session.run(feeds)).rejects.toMatchObject({ where: "SIGINT" });
    await runtime.close();
    expect(answered).toBe(false);
  });

  it("reports a device that is not there when it is opened", async () => {
    await expect(openWorkerEngine(entry, { device: "cuda", threads: 1 })).rejects.toMatchObject({ where: "cuda" });
  });
});

// The driver is read from the environment of the process when the first session is made.
it.skipIf(swiftShader === null)(
  "webgpu agrees with the CPU on 6 input channels (needs chromium and libvulkan1)",
  async () => {
    Object.assign(process.env, swiftShader);
    const expected = await compute(await openEngine("cpu", 1), 12);
    const got = await compute(await openEngine("webgpu", 1), 12);
    expect(largestDifference(got.values, expected.values)).toBeLessThan(1e-3);
  },
);
