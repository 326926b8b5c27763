import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { branchesOf } from "../src/coupling/branches.ts";
import { random } from "../src/criteria/weights/random.ts";
import { inlineIf } from "../src/graph/passes/inline-if.ts";
import { verify } from "../src/graph/passes/verify.ts";
import { analyse } from "../src/models/analysis.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../src/runtime/runtime.ts";
import { dropBranches, maskBranches } from "../src/surgery/bypass.ts";
import { cut } from "../src/surgery/cut.ts";
import { checkLaw } from "../src/surgery/law.ts";
import { masked } from "../src/surgery/masked.ts";
import { tensor } from "../src/tensor/tensor.ts";
import { openSkeletons } from "./fixtures/skeletons.ts";
import { feedsOf, floats, masksOf } from "./laws.ts";

const skeletons = openSkeletons(new URL("./fixtures/extra.br", import.meta.url));

/** Half floats and quantised weights add up in coarser steps. */
const tolerance: Readonly<Record<string, number>> = { half: 2e-3, qdq: 1e-2 };

/** Fused attention holds its heads whole, so less of it goes. */
const left: Readonly<Record<string, number>> = { contrib: 0.8 };

describe("graphs that torchvision has not, 30 % of every group removed at random", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ threads: 1, worker: false });
  });
  afterAll(() => runtime.close());

  it.each(skeletons.names)("%s: valid, smaller, and equal to the masked original", async (name) => {
    const { graph: read } = await skeletons.model(name);
    const decided = read.inputs.filter(({ dtype, dims }) => dtype === "bool" && dims?.length === 0);
    const yes = tensor("bool", [], new Uint8Array([1]));
    const graph = await inlineIf(read, new Map(decided.map((info) => [info.name, yes])));
    const tokens = graph.inputs.filter(({ dtype, dims }) => dtype === "i64" && dims?.length === 2);
    const analysis = await analyse(graph, runtime, { shapes: new Map(tokens.map((info) => [info.name, [2, 12]])) });
    const masks = await masksOf(analysis, random(3));
    const small = verify(await cut(graph, analysis.coupling, analysis.facts, masks));
    const reference = masked(graph, analysis.coupling, analysis.facts, masks);
    const law = await checkLaw(runtime, reference, small, [await feedsOf(analysis)]);
    expect(law.relative).toBeLessThan(tolerance[name] ?? 1e-4);
    expect(floats(small)).toBeLessThan((left[name] ?? 0.75) * floats(graph));
  });

  it.each([
    ["bert", 48],
    ["llama", 64],
  ] as const)("%s: its branches count features, not the positions of tokens, and go whole", async (name, width) => {
    const { graph } = await skeletons.model(name);
    const analysis = await analyse(graph, runtime);
    const { coupling, facts } = analysis;
    const branches = branchesOf(graph, coupling, facts);
    expect(branches.map(({ axis, features }) => [axis, features])).toEqual(Array(4).fill([2, width]));
    const dropped = branches.map(({ sum, bypass, axis, features }) => ({
      ...{ sum, bypass, axis },
      mean: Float64Array.from({ length: features }, (_, i) => i / features),
    }));
    const small = verify(dropBranches(graph, dropped, facts.types));
    const law = await checkLaw(runtime, maskBranches(graph, dropped, facts.types), small, [await feedsOf(analysis)]);
    expect(law.relative).toBeLessThan(1e-4);
  });
});
