import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../../data/from-tensors.ts";
import { ints } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Draft } from "../../graph/draft.ts";
import type { Graph } from "../../graph/graph.ts";
import { modelFrom } from "../../models/model.ts";
import { type StructuredOptions, structured } from "../../plans/methods.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime, Session } from "../../runtime/runtime.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { prune } from "../prune.ts";

const real = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => real.close());

const trunk = 4;
const inner = 16;

/** A kernel that works in blocks of four channels: its time is their number, whatever lies in them. */
function stepped(graph: Graph): number {
  const blocks = (n = 0): number => Math.ceil(n / 4);
  let time = 0;
  for (const { shape } of graph.constants.values()) if (shape.length === 4) time += blocks(shape[0]) * blocks(shape[1]);
  return time;
}

/** The real runtime, but for a clock that shows what `time` says. */
function clocked(time: (graph: Graph) => number): Runtime & { readonly measured: Graph[] } {
  const graphs = new Map<Session, Graph>();
  const measured: Graph[] = [];
  return {
    ...real,
    measured,
    compile: async (graph, options) => {
      const session = await real.compile(graph, options);
      graphs.set(session, graph);
      return session;
    },
    measure: async (jobs) =>
      jobs.map(({ session }) => {
        const graph = graphs.get(session);
        if (graph !== undefined) measured.push(graph);
        const ms = graph === undefined ? 0 : time(graph);
        return { medianMs: ms, p10Ms: ms, p90Ms: ms, runs: 1 };
      }),
  };
}

function noise(label: string, length: number, scale: number): Float32Array {
  const values = new Float32Array(length);
  random(4, "within latency", label).fillNormal(values);
  return values.map((n) => n * scale);
}

/** Adds x + conv(relu(conv(x))). */
function block(g: Draft, x: string, label: string, scale: number): string {
  const weight = (name: string, rows: number, columns: number, spread: number) =>
    g.constant(
      float32Tensor([rows, columns, 3, 3], noise(`${label}.${name}`, rows * columns * 9, spread)),
      `${label}.${name}`,
    );
  const attributes = { pads: ints([1, 1, 1, 1]), kernel_shape: ints([3, 3]) };
  const h = g.op("Relu", [g.op("Conv", [x, weight("first", inner, trunk, 0.4)], attributes)]);
  const y = g.op("Conv", [h, weight("second", trunk, inner, scale)], attributes);
  return g.op("Relu", [g.op("Add", [y, x])]);
}

function network() {
  const g = builder("three blocks", 17);
  g.input("x", "f32", ["n", trunk, 8, 8]);
  const values = block(g, block(g, block(g, "x", "strong", 0.4), "weak", 0.02), "middle", 0.2);
  const pooled = g.op("Reshape", [g.op("GlobalAveragePool", [values]), g.int64([-1, trunk])]);
  const head = g.constant(float32Tensor([trunk, 5], noise("head", trunk * 5, 0.1)), "head");
  g.output(g.op("MatMul", [pooled, head], {}, "y"), "f32", ["n", 5]);
  const file = { irVersion: 8, producerName: "", producerVersion: "", domain: "", modelVersion: 0n, doc: "" };
  return modelFrom("three-blocks.onnx", { ...file, graph: g.finish(), metadata: new Map(), unknown: [] });
}

const calibration = fromTensors({ x: float32Tensor([40, trunk, 8, 8], noise("x", 40 * trunk * 64, 1)) });

async function pruned(options: StructuredOptions, time = stepped) {
  const runtime = clocked(time);
  const plan = structured({ roundTo: "auto", ...options });
  const { report } = await prune(network(), plan, { runtime, calibration, latencyBatch: 3 });
  const share = (report.after.latencyMs?.median ?? 0) / (report.before.latencyMs?.median ?? 1);
  const widths = report.layers.filter(({ before }) => before === inner).map(({ after }) => after);
  return { share, widths, runtime };
}

describe("a limit of time", () => {
  it("is kept with widths that the kernel makes full use of, which the table tells", async () => {
    for (const keepLatency of [0.9, 0.7, 0.4]) {
      const { share, widths } = await pruned({ keepLatency, selection: "error" });
      expect(share).toBeLessThanOrEqual(keepLatency);
      // Three blocks of two times four kernel blocks: the next larger choice would be over the limit.
      expect(share).toBeGreaterThan(keepLatency - 2 / 24 - 0.02 * keepLatency);
      expect(widths.every((n) => n % 4 === 0)).toBe(true);
    }
  });

  it("means the same as milliseconds", async () => {
    const full = stepped(network().onnx.graph);
    const one = await pruned({ keepLatency: 0.7, selection: "error" });
    const two = await pruned({ maxLatency: 0.7 * full, selection: "error" });
    expect(two.widths).toEqual(one.widths);
  });

  it("follows the table, not the step: a kernel without steps leaves other widths", async () => {
    const smooth = (graph: Graph): number => {
      let time = 0;
      for (const { shape } of graph.constants.values())
        if (shape.length === 4) time += (shape[0] ?? 0) * (shape[1] ?? 0);
      return time;
    };
    const { share, widths } = await pruned({ keepLatency: 0.7, selection: "error" }, smooth);
    expect(share).toBeLessThanOrEqual(0.7);
    expect(share).toBeGreaterThan(0.64);
    expect(widths.some((n) => n % 4 !== 0)).toBe(true);
  });

  it("takes most from the branch that hardly matters", async () => {
    const { widths } = await pruned({ keepLatency: 0.7, selection: "error" });
    const [strong = 0, weak = 0, middle = 0] = widths;
    expect(weak).toBeLessThan(middle);
    expect(middle).toBeLessThan(strong);
  });

  it("is searched for by work where units go by scores", async () => {
    const { share, widths } = await pruned({ keepLatency: 0.7, roundTo: 4 });
    expect(share).toBeLessThanOrEqual(0.7);
    expect(Math.max(...widths)).toBeLessThan(inner);
  });

  it("leaves everything where there is room for it", async () => {
    expect((await pruned({ maxLatency: 1e6, selection: "error" })).widths).toEqual([inner, inner, inner]);
  });

  it("corrects a table that does not add up to the network's time", async () => {
    // Half of the time has nothing to do with widths, which no part shows.
    const whole = stepped(network().onnx.graph);
    const { share } = await pruned({ keepLatency: 0.75, selection: "error" }, (graph) =>
      graph.outputs.some(({ name }) => name === "y") ? whole + stepped(graph) : 2 * stepped(graph),
    );
    expect(share).toBeLessThanOrEqual(0.75);
    expect(share).toBeGreaterThan(0.6);
  });

  it("names the least time where it cannot be kept", async () => {
    const constant = () => 10;
    await expect(pruned({ keepLatency: 0.5, selection: "error" }, constant)).rejects.toThrow(
      "--keep-latency: expected a time that this model can reach, got 0.5. The original took 10.0 ms; with as little left as this plan allows it takes 10.0 ms (100.0 %).",
    );
    const slow = (graph: Graph) => 100 + stepped(graph);
    await expect(pruned({ maxLatency: 90, selection: "error" }, slow)).rejects.toThrow(
      /^--max-latency: .* takes 100 ms \(80\.\d %\)/,
    );
  });

  it("measures parts that look the same once", async () => {
    const { runtime } = await pruned({ keepLatency: 0.7, selection: "error" });
    const parts = runtime.measured.filter(({ outputs }) => outputs.every(({ name }) => name !== "y"));
    expect(parts.map(({ nodes }) => nodes.map(({ op }) => op).join(" "))).toEqual(Array(inner).fill("Conv Relu Conv"));
    expect(parts.map(({ inputs }) => inputs[0]?.dims)).toEqual(Array(inner).fill([3, trunk, 8, 8]));
  });
});
