import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { random } from "../../src/criteria/weights/random.ts";
import { verify } from "../../src/graph/passes/verify.ts";
import { analyse } from "../../src/models/analysis.ts";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { cut } from "../../src/surgery/cut.ts";
import { checkLaw } from "../../src/surgery/law.ts";
import { masked } from "../../src/surgery/masked.ts";
import { feedsOf, floats, masksOf } from "../laws.ts";
import { openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
const own = fixtures.cases.filter(({ name, checkpoint }) => name === checkpoint).map(({ name }) => name);

describe("every architecture, 30 % of every group removed at random", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ threads: 1, worker: false });
  });
  afterAll(() => runtime.close());

  it.each(own)("%s: understood, valid, smaller, and equal to the masked original", async (name) => {
    const model = checkpointModel(await fixtures.open(name));
    const { graph } = model.graph();
    const shapes = model.kind === "vision" ? [] : [["input_ids", [2, 12]] as const];
    const analysis = await analyse(graph, runtime, { shapes: new Map(shapes) });
    expect([...analysis.coupling.unknown]).toEqual([]);
    const masks = await masksOf(analysis, random(3));
    const small = verify(await cut(graph, analysis.coupling, analysis.facts, masks));
    const reference = masked(graph, analysis.coupling, analysis.facts, masks);
    const law = await checkLaw(runtime, reference, small, [await feedsOf(analysis)]);
    expect(law.relative).toBeLessThan(1e-5);
    expect(floats(small)).toBeLessThan(0.75 * floats(graph));
  });
});
