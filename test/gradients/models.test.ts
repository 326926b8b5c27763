import { afterAll, describe, expect, it } from "vitest";
import { upgrade } from "../../src/ops/upgrade/upgrade.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { toFloat64 } from "../../src/tensor/numeric.ts";
import { allowed, compareModel, differentiated, modelOf } from "./models.ts";

/** `bench/model-gradients.ts` differentiates all of them. */
const quick: ReadonlySet<string> = new Set(["bert", "lstm", "llama", "resnet18", "mobilenet_v3_small"]);

describe("gradients of whole models equal PyTorch's in float64", async () => {
  const runtime = await openRuntime({ threads: 2, worker: false });
  afterAll(() => runtime.close());

  it.each(differentiated.filter(([name]) => quick.has(name)))("%s, %s", async (name, mode) => {
    const found = await compareModel(runtime, name, mode);
    expect(found.filter((one) => !(one.error <= allowed(one)))).toEqual([]);
    expect(found.length).toBeGreaterThan(15);
  });

  it("sees one parameter's gradient that is a hundredth too large", async () => {
    const plant = (name: string, values: Float32Array): Float32Array =>
      name === "embed.weight" ? values.map((value) => value * 1.01) : values;
    const found = await compareModel(runtime, "llama", "evaluating", plant);
    expect(found.filter((one) => !(one.error <= allowed(one))).map(({ name }) => name)).toEqual(["embed.weight"]);
  });

  it.each(["resnet18", "mobilenet_v3_small"])(
    "%s, of an old operator set, is upgraded to the same outputs",
    async (name) => {
      const { graph, feeds } = await modelOf(name);
      const outputs = [];
      for (const version of [graph, await upgrade(graph)]) {
        const session = await runtime.compile(version);
        outputs.push(...[...(await session.run(feeds)).values()].map(toFloat64));
        await session.release();
      }
      const [before, after] = outputs;
      expect(graph.opsets.get("")).toBeLessThan(14);
      for (const [i, value] of before?.entries() ?? [])
        expect(Math.abs(value - (after?.[i] ?? Number.NaN))).toBeLessThan(1e-3);
    },
  );
});
