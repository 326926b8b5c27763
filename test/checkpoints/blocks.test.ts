import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Feeds, Graph } from "../../src/graph/graph.ts";
import { keepBlocks } from "../../src/models/checkpoint/change.ts";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { toFloat32 } from "../../src/tensor/numeric.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { inFloat32, openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

async function run(graph: Graph, feeds: Feeds, name: string): Promise<HostTensor> {
  const session = await runtime.compile(graph);
  const out = await session.run(feeds);
  await session.release();
  return out.get(name) ?? expect.fail();
}

/** What the stages of some blocks make, one behind the other. */
async function inTurn({ stages }: CheckpointModel, kept: readonly number[], x: HostTensor): Promise<HostTensor> {
  let value = x;
  for (const stage of stages) {
    if (stage.block !== undefined && !kept.includes(stage.block)) continue;
    value = await run(stage.graph(), new Map([[stage.input.name, value]]), stage.output.name);
  }
  return value;
}

function difference(a: HostTensor, b: HostTensor): number {
  expect(a.shape).toEqual(b.shape);
  const [left, right] = [toFloat32(a), toFloat32(b)];
  const size = left.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return left.reduce((most, x, i) => Math.max(most, Math.abs(x - (right[i] ?? Number.NaN))), 0) / size;
}

const encoders: ReadonlySet<string> = new Set(["bert", "roberta", "modernbert"]);
const cases = fixtures.cases.map(({ name }) => name).filter((name) => !encoders.has(name));

describe("a checkpoint of some blocks computes what these compute one behind the other", () => {
  it.each(cases)("%s", async (name) => {
    const model = checkpointModel(await inFloat32(await fixtures.open(name)));
    const x = [...(await fixtures.expected(name))].find(([key]) => key === model.stages[0]?.input.name)?.[1];
    const count = model.outline.blocks.length;
    const all = Array.from({ length: count }, (_, block) => block);
    for (const left of all) {
      const kept = left === 0 ? all.slice(0, -1) : all.filter((block) => block >= left);
      const byNumber = name === "gpt2-scaled" && left > 0;
      if (byNumber) {
        expect(() => keepBlocks(model, kept)).toThrow("expected the first blocks, since attention is scaled");
        continue;
      }
      const small = checkpointModel(keepBlocks(model, kept));
      const { graph } = small.graph();
      const got = await run(
        graph,
        new Map([[graph.inputs[0]?.name ?? "", x ?? expect.fail()]]),
        graph.outputs[0]?.name ?? "",
      );
      expect(difference(await inTurn(model, kept, x ?? expect.fail()), got), `blocks ${kept}`).toBeLessThan(1e-5);
    }
  });

  it("and not what others would", async () => {
    const model = checkpointModel(await inFloat32(await fixtures.open("llama")));
    const ids = (await fixtures.expected("llama")).get("input_ids") ?? expect.fail();
    const { graph } = checkpointModel(keepBlocks(model, [1])).graph();
    expect(
      difference(await inTurn(model, [0], ids), await run(graph, new Map([["input_ids", ids]]), "logits")),
    ).toBeGreaterThan(1e-4);
  });

  it("the size of a head is stated where it follows from the config, and not where heads have parts", async () => {
    const configOf = async (name: string) => keepBlocks(checkpointModel(await fixtures.open(name)), [0]).config;
    expect(await configOf("llama")).toMatchObject({ head_dim: 4 });
    expect(await configOf("phi3")).toMatchObject({ head_dim: 4 });
    expect(await configOf("deepseek_v3")).not.toHaveProperty("head_dim");
  });

  it("ModernBERT keeps its first block, which has no norm in front", async () => {
    const model = checkpointModel(await fixtures.open("modernbert"));
    expect(keepBlocks(model, [0, 2]).config).toMatchObject({ num_hidden_layers: 2 });
    expect(() => keepBlocks(model, [1, 2])).toThrow("blocks: expected the first block among those that are left");
  });

  it("lists that count something else stay whole", async () => {
    const model = checkpointModel(await fixtures.open("llama", { eos_token_id: [2, 3], layer_types: ["a", "b"] }));
    expect(keepBlocks(model, [1]).config).toMatchObject({ eos_token_id: [2, 3], layer_types: ["b"] });
  });
});
