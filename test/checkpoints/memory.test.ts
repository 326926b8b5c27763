import { afterAll, beforeAll, expect, it } from "vitest";
import { liveBytes } from "../../src/graph/passes/live-bytes.ts";
import { checkpointModel, type Stage } from "../../src/models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { grownBytes } from "../../src/stream/memory/grown-bytes.ts";
import { openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
const encoders: ReadonlySet<string> = new Set(["bert", "roberta", "modernbert", "vit"]);
const decoders = fixtures.cases.map(({ name }) => name).filter((name) => !encoders.has(name));

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

/** Types of a stage for two windows of a length. */
const typedAt = (stage: Stage, width: number) => async (time: number) => {
  const graph = stage.graph();
  const { name, dtype } = stage.input;
  const shape = stage.role === "embedding" ? [2, time] : [2, time, width];
  return { graph, types: await runtime.types(graph, new Map([[name, { dtype: dtype ?? "f32", shape }]])) };
};

it.each(decoders)("what a block works with at long windows follows from short ones: %s", async (name) => {
  const model = checkpointModel(await fixtures.open(name));
  const at = typedAt(model.stages[1] ?? expect.fail(), model.outline.width);
  const { graph, types } = await at(700);
  expect(await grownBytes(at, 700)).toBe(liveBytes(graph, types));
  expect(await grownBytes(at, 701)).not.toBe(liveBytes(graph, types));
});
