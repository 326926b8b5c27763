import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { toFloat32 } from "../../src/tensor/numeric.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();

describe("tiny checkpoints compute what PyTorch computes from papers and configs", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ threads: 1, worker: false });
  });
  afterAll(() => runtime.close());

  it.each(fixtures.cases.map(({ name }) => name))("%s", async (name) => {
    const model = checkpointModel(await fixtures.open(name));
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
    expect(worst(expected, results)).toBeLessThan(1e-4);
  });
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
