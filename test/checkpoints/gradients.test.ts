import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { composeAll } from "../../src/autodiff/lower.ts";
import { sized } from "../../src/autodiff/sized.ts";
import { algebra } from "../../src/graph/algebra/algebra.ts";
import type { Graph } from "../../src/graph/graph.ts";
import { removeDeadCode } from "../../src/graph/passes/dead-code.ts";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { float32Tensor, fromInts, toFloat32 } from "../../src/tensor/numeric.ts";
import { random } from "../../src/tensor/random.ts";
import { load, refOf, sizeOf } from "../../src/tensor/tensor.ts";
import { inFloat32, openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();

describe("the slope of a loss along a random change of all parameters is what gradients say", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ threads: 1, worker: false });
  });
  afterAll(() => runtime.close());

  it.each([
    "llama",
    "gpt2",
    "gemma2",
    "gemma3_text",
    "phi3-long",
    "opt-after",
    "gpt_neox",
    "olmo2",
    "qwen2_moe",
    "deepseek_v3",
    "modernbert",
  ])("%s", async (name) => {
    const model = checkpointModel(await inFloat32(await fixtures.open(name)));
    const { graph } = model.graph();
    const ids = fromInts("i64", [2, 6], [3, 7, 11, 2, 9, 20, 4, 4, 13, 5, 8, 21]);
    const feeds = new Map([["input_ids", ids]]);
    const g = algebra(await sized(graph, runtime, new Map([["input_ids", { dtype: "i64", shape: [2, 6] }]])));
    const answer = g.of(graph.outputs[0]?.name ?? "");
    const weights = new Float32Array(sizeOf(answer.shape));
    random(5, "loss").fillNormal(weights);
    const loss = g.mean(g.mul(answer, g.constant(float32Tensor(answer.shape, weights))));
    const gradients = gradient(g, loss, model.parameters.keys(), { unreached: "zero" });
    composeAll(g);
    for (const value of [loss, ...gradients.values()]) g.draft.output(value.name, "f32", value.shape);
    const whole = removeDeadCode(g.finish().graph);
    const out = await run(whole, feeds, runtime);
    let slope = 0;
    let reached = 0;
    const changes = new Map<string, Float32Array>();
    for (const [parameter, value] of gradients) {
      const found = toFloat32(out.get(value.name) ?? expect.fail());
      const change = new Float32Array(found.length);
      random(6, parameter).fillNormal(change, 0, 0.3);
      changes.set(parameter, change);
      slope += found.reduce((sum, x, i) => sum + x * (change[i] ?? 0), 0);
      if (found.some((x) => x !== 0)) reached++;
    }
    expect(reached).toBeGreaterThan(0.8 * gradients.size);
    const only: Graph = removeDeadCode({ ...whole, outputs: whole.outputs.filter((info) => info.name === loss.name) });
    const at = async (step: number): Promise<number> => {
      const moved = await run(await shifted(only, changes, step), feeds, runtime);
      return toFloat32(moved.get(loss.name) ?? expect.fail())[0] ?? Number.NaN;
    };
    const step = 5e-4;
    const measured = ((await at(step)) - (await at(-step))) / (2 * step);
    expect(Math.abs(measured - slope)).toBeLessThan(0.01 * Math.abs(slope) + 3e-4);
    expect(Math.abs(slope)).toBeGreaterThan(1e-3);
  });
});

async function shifted(graph: Graph, changes: ReadonlyMap<string, Float32Array>, step: number): Promise<Graph> {
  const constants = new Map(graph.constants);
  for (const [name, change] of changes) {
    const ref = graph.constants.get(name);
    if (ref === undefined) continue;
    const values = toFloat32(await load(ref)).map((x, i) => x + step * (change[i] ?? 0));
    constants.set(name, refOf(float32Tensor(ref.shape, values)));
  }
  return { ...graph, constants };
}

async function run(
  graph: Graph,
  feeds: Parameters<Awaited<ReturnType<Runtime["compile"]>>["run"]>[0],
  runtime: Runtime,
) {
  const session = await runtime.compile(graph);
  const out = await session.run(feeds);
  await session.release();
  return out;
}
