import { afterAll, beforeAll, expect, it } from "vitest";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { withPooling } from "../../src/models/checkpoint/pooling.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { toFloat32 } from "../../src/tensor/numeric.ts";
import { openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

it.each([
  ["mean", false],
  ["mean", true],
  ["first", false],
] as const)("texts are pooled by their %s token, normalised: %s", async (how, normalise) => {
  const expected = await fixtures.expected("modernbert");
  const graph = withPooling(checkpointModel(await fixtures.open("modernbert")).graph("padded").graph, how, {
    normalise,
  });
  const session = await runtime.compile(graph);
  const feeds = graph.inputs.map(({ name }) => [name, expected.get(name) ?? expect.fail()] as const);
  const found = toFloat32((await session.run(new Map(feeds))).get("sentence_embedding") ?? expect.fail());
  await session.release();
  const hidden = toFloat32(expected.get("last_hidden_state") ?? expect.fail());
  const [texts, time, width] = [2, 11, 16];
  expect(found).toHaveLength(texts * width);
  for (let text = 0; text < texts; text++) {
    // The last two tokens of the second text are padding.
    const real = how === "first" ? 1 : text === 0 ? time : time - 2;
    const mean = Array.from({ length: width }, (_, i) => {
      let sum = 0;
      for (let t = 0; t < real; t++) sum += hidden[(text * time + t) * width + i] ?? 0;
      return sum / real;
    });
    const length = normalise ? Math.hypot(...mean) : 1;
    for (const [i, x] of mean.entries()) expect(found[text * width + i]).toBeCloseTo(x / length, 4);
  }
});

it("a decoder is not pooled", async () => {
  const { graph } = checkpointModel(await fixtures.open("llama")).graph();
  expect(() => withPooling(graph, "mean")).toThrow("expected the graph of an encoder");
});
