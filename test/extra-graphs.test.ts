import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Feeds, Graph, ValueInfo } from "../src/graph/graph.ts";
import { verify } from "../src/graph/passes/verify.ts";
import { upgrade } from "../src/ops/upgrade/upgrade.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../src/runtime/runtime.ts";
import { float32Tensor, fromFloats, fromInts, toFloat32, toFloat64 } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";
import { type HostTensor, sizeOf } from "../src/tensor/tensor.ts";
import { openSkeletons } from "./fixtures/skeletons.ts";

const skeletons = openSkeletons(new URL("./fixtures/extra.br", import.meta.url));
const sizes: Readonly<Record<string, number>> = { batch: 2, length: 9, height: 20, width: 28 };

describe("graphs beyond torchvision", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ threads: 1, worker: false });
  });
  afterAll(() => runtime.close());

  it.each(skeletons.names)("%s with made-up weights gives finite outputs that differ between samples", async (name) => {
    const graph = verify((await skeletons.model(name)).graph);
    for (const [output, spread] of await spreads(runtime, graph)) expect(spread, output).toBeGreaterThan(1e-6);
  });

  it.each(skeletons.names)("%s upgraded to one operator set gives the same outputs", async (name) => {
    const { graph } = await skeletons.model(name);
    const feeds = feedsOf(graph);
    const outputs = [];
    for (const version of [graph, verify(await upgrade(graph))]) {
      const session = await runtime.compile(version);
      outputs.push(await session.run(feeds));
      await session.release();
    }
    const [before = new Map(), after = new Map()] = outputs;
    for (const [output, tensor] of before) expect(gap(tensor, after.get(output)), output).toBeLessThan(1e-4);
  });

  it("catches a planted fault: weights of zero give outputs that do not differ", async () => {
    const { graph } = await skeletons.model("unet");
    const constants = new Map(
      [...graph.constants].map(([name, { dtype, shape, resident, at }]) => {
        const length = resident?.length ?? at?.length ?? 0;
        return [
          name,
          dtype === "f32"
            ? { dtype, shape, resident: new Uint8Array(length) }
            : { dtype, shape, ...(resident && { resident }) },
        ];
      }),
    );
    for (const spread of (await spreads(runtime, { ...graph, constants })).values()) expect(spread).toBe(0);
  });
});

/** Norm of the difference relative to the norm of the first; NaN where the second is another kind of tensor. */
function gap(a: HostTensor, b: HostTensor | undefined): number {
  if (b === undefined || a.shape.join() !== b.shape.join()) return Number.NaN;
  const [u, v] = [toFloat64(a), toFloat64(b)];
  const [apart, size] = [u.map((x, i) => x - (v[i] ?? Number.NaN)), u].map((values) => Math.hypot(...values));
  return (apart ?? Number.NaN) / (size ?? Number.NaN);
}

/** Greatest difference between the first two samples, by output; NaN where a value is not finite. */
async function spreads(runtime: Runtime, graph: Graph): Promise<ReadonlyMap<string, number>> {
  const session = await runtime.compile(graph);
  const results = await session.run(feedsOf(graph));
  await session.release();
  return new Map([...results].map(([name, tensor]) => [name, spread(toFloat32(tensor))]));
}

function spread(values: Float32Array): number {
  const half = values.length / 2;
  let most = 0;
  for (let i = 0; i < half; i++) {
    const gap = Math.abs((values[i] ?? Number.NaN) - (values[i + half] ?? Number.NaN));
    if (!Number.isFinite(gap)) return Number.NaN;
    most = Math.max(most, gap);
  }
  return most;
}

function feedsOf(graph: Graph): Feeds {
  return new Map(graph.inputs.map((input) => [input.name, feedOf(input)]));
}

function feedOf({ name, dtype, dims }: ValueInfo): HostTensor {
  const shape = (dims ?? []).map((n) => (typeof n === "number" ? n : (sizes[n ?? ""] ?? 2)));
  const draws = random(1, name);
  const count = sizeOf(shape);
  if (dtype === "bool") return fromInts(dtype, shape, new Uint8Array(count).fill(1));
  if (dtype === "i64")
    return fromInts(
      dtype,
      shape,
      Array.from({ length: count }, () => (name === "mask" ? 1 : draws.int(100))),
    );
  const values = new Float32Array(count);
  draws.fillUniform(values);
  return dtype === "f16" ? fromFloats(dtype, shape, values) : float32Tensor(shape, values);
}
