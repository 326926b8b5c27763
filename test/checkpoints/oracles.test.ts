import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { float32Tensor, toFloat32 } from "../../src/tensor/numeric.ts";
import { type HostTensor, load, refOf } from "../../src/tensor/tensor.ts";
import { inFloat32, openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();

describe("tiny checkpoints compute what PyTorch computes from papers and configs", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ threads: 1, worker: false });
  });
  afterAll(() => runtime.close());

  it.each(fixtures.cases.map(({ name }) => name))("%s", async (name) => {
    expect(await worstOf(checkpointModel(await fixtures.open(name)), name)).toBeLessThan(1e-4);
  });

  it.each<[string, string, (name: string) => string]>([
    [
      "bert",
      "norms under their old names",
      (name) => name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
    ],
    ["bert", "no prefix", (name) => name.replace("bert.", "")],
    ["roberta", "no prefix", (name) => name.replace("roberta.", "")],
    ["gpt2", "no prefix", (name) => name.replace("transformer.", "")],
    ["opt", "a shorter prefix", (name) => name.replace("model.", "")],
  ])("%s with %s", async (name, _, rename) => {
    const checkpoint = await fixtures.open(name);
    const tensors = new Map([...checkpoint.tensors].map(([key, ref]) => [rename(key), ref]));
    expect([...tensors.keys()]).not.toEqual([...checkpoint.tensors.keys()]);
    expect(await worstOf(checkpointModel({ ...checkpoint, tensors }), name)).toBeLessThan(1e-4);
  });

  it("a tenth more of one weight is seen", async () => {
    const checkpoint = await inFloat32(await fixtures.open("llama"));
    const name = "model.layers.1.self_attn.k_proj.weight";
    const ref = checkpoint.tensors.get(name) ?? expect.fail();
    const more = toFloat32(await load(ref)).map((x) => 1.1 * x);
    const tensors = new Map([...checkpoint.tensors, [name, refOf(float32Tensor(ref.shape, more))] as const]);
    expect(await worstOf(checkpointModel({ ...checkpoint, tensors }), "llama")).toBeGreaterThan(1e-3);
  });

  async function worstOf(model: CheckpointModel, name: string): Promise<number> {
    const expected = await fixtures.expected(name);
    const { graph, boundaries } = model.graph(expected.has("attention_mask") ? "padded" : "tokens");
    const [first = "", last = ""] = [boundaries[0], boundaries.at(-2)];
    const shown = [first, last].map((value) => graph.valueInfo.get(value) ?? expect.fail());
    const session = await runtime.compile({ ...graph, outputs: [...graph.outputs, ...shown] });
    const found = await session.run(
      new Map(graph.inputs.map((info) => [info.name, expected.get(info.name) ?? expect.fail()])),
    );
    const results = new Map([...found, ["hidden.first", found.get(first)], ["hidden.last", found.get(last)]]);
    await session.release();
    return worst(expected, results);
  }
});

/** Largest difference of a result to what it should be, over the largest number there. */
function worst(expected: ReadonlyMap<string, HostTensor>, found: ReadonlyMap<string, HostTensor | undefined>): number {
  let largest = 0;
  let compared = 0;
  for (const [name, tensor] of expected) {
    const other = found.get(name);
    if (other === undefined) continue;
    compared++;
    const [a, b] = [toFloat32(tensor), toFloat32(other)];
    expect(other.shape).toEqual(tensor.shape);
    const size = a.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    for (const [i, x] of a.entries()) largest = Math.max(largest, Math.abs(x - (b[i] ?? Number.NaN)) / size);
  }
  expect(compared).toBeGreaterThan(2);
  return largest;
}
