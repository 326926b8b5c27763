import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { branchesOf } from "../../src/coupling/branches.ts";
import type { Group } from "../../src/coupling/couple.ts";
import { headsOf } from "../../src/coupling/heads.ts";
import { random } from "../../src/criteria/weights/random.ts";
import { openCheckpointFolder } from "../../src/formats/checkpoint/open.node.ts";
import { verify } from "../../src/graph/passes/verify.ts";
import { analyse } from "../../src/models/analysis.ts";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { cut } from "../../src/surgery/cut.ts";
import { checkLaw } from "../../src/surgery/law.ts";
import { masked } from "../../src/surgery/masked.ts";
import { fromInts } from "../../src/tensor/numeric.ts";
import { masksOf } from "../laws.ts";
import { hasStories, storiesFolder } from "./stories.ts";

const memberships = ({ members }: Group): string[] =>
  members.map(({ parameter, axis, role }) => `${parameter.replace(/^model\.layers\.\d+\./, "")} ${axis} ${role}`);

describe.skipIf(!hasStories)("what prunes graphs prunes a checkpoint's", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ threads: 1, worker: false });
  });
  afterAll(() => runtime.close());

  it("neurons, key heads with their queries, and query heads are groups of every block", async () => {
    const model = checkpointModel(await openCheckpointFolder(storiesFolder));
    const { graph } = model.graph();
    const { coupling, facts } = await analyse(graph, runtime);
    const free = coupling.groups.filter(({ blocked }) => blocked.length === 0);
    const { heads, queryHeads } = headsOf(coupling);
    const neurons = free.filter(({ id }) => id.endsWith("gate_proj.weight"));
    expect(neurons.map(({ size }) => size)).toEqual(Array(5).fill(172));
    const [first] = neurons;
    expect(first === undefined ? [] : memberships(first)).toEqual([
      "mlp.gate_proj.weight 0 output",
      "mlp.up_proj.weight 0 output",
      "mlp.down_proj.weight 1 input",
    ]);
    expect([...heads].map(({ size, sets }) => [size, sets])).toEqual(Array(5).fill([4, 1]));
    expect([...queryHeads].map(({ size, sets }) => [size, sets])).toEqual(Array(5).fill([2, 4]));
    const [head] = heads;
    expect(head === undefined ? [] : memberships(head)).toEqual([
      "self_attn.q_proj.weight 0 output",
      "self_attn.k_proj.weight 0 output",
      "self_attn.v_proj.weight 0 output",
      "self_attn.o_proj.weight 1 input",
    ]);
    expect(branchesOf(graph, coupling, facts)).toHaveLength(10);
    expect(coupling.unknown.size).toBe(0);
  });

  it("30 % of every group removed equals the masked original, at sizes that were not analysed", async () => {
    const { graph } = checkpointModel(await openCheckpointFolder(storiesFolder)).graph();
    const analysis = await analyse(graph, runtime);
    const masks = await masksOf(analysis, random(3));
    const small = verify(await cut(graph, analysis.coupling, analysis.facts, masks));
    const reference = masked(graph, analysis.coupling, analysis.facts, masks);
    const tokens = Array.from({ length: 60 }, (_, i) => (i * 37) % 512);
    const feeds = new Map([["input_ids", fromInts("i64", [3, 20], tokens)]]);
    const law = await checkLaw(runtime, reference, small, [feeds]);
    expect(law.relative).toBeLessThan(1e-5);
    const untouched = await checkLaw(runtime, graph, small, [feeds]);
    expect(untouched.relative).toBeGreaterThan(0.1);
  });
});
