import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allocateUnits, unitAllocationDefaults } from "../src/allocation/units.ts";
import type { Group } from "../src/coupling/couple.ts";
import type { Criterion } from "../src/criteria/criterion.ts";
import { magnitude } from "../src/criteria/magnitude.ts";
import { random } from "../src/criteria/random.ts";
import { unitScores } from "../src/criteria/unit-scores.ts";
import { randomInputs } from "../src/data/random-inputs.ts";
import type { Feeds } from "../src/graph/graph.ts";
import { verify } from "../src/graph/verify.ts";
import { unitMasks } from "../src/masks/units.ts";
import { type Analysis, analyse } from "../src/models/analysis.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../src/runtime/runtime.ts";
import { cut } from "../src/surgery/cut.ts";
import { checkLaw } from "../src/surgery/law.ts";
import { masked } from "../src/surgery/masked.ts";
import { openSkeletons } from "./fixtures/skeletons.ts";

/** One small member of each family; `bench/torchvision.ts` runs all of them. */
const families = [
  "squeezenet1_1",
  "mobilenet_v2",
  "mobilenet_v3_small",
  "mnasnet0_5",
  "shufflenet_v2_x0_5",
  "efficientnet_b0",
  "regnet_x_400mf",
  "regnet_y_400mf",
  "resnet18",
  "googlenet",
  "densenet121",
  "convnext_tiny",
  "swin_t",
  "maxvit_t",
];

const container = new URL("./fixtures/torchvision.br", import.meta.url);

describe.skipIf(!existsSync(container))("torchvision architectures, 30 % of every group removed", () => {
  const skeletons = openSkeletons(container);
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ threads: 1, worker: false });
  });
  afterAll(() => runtime.close());

  it.each(families)("%s: valid, smaller, and equal to the masked original", async (name) => {
    const { graph } = await skeletons.model(name);
    const analysis = await analyse(graph, runtime);
    const feeds = await feedsOf(analysis);
    for (const criterion of [magnitude(2), random(7)]) {
      const masks = await masksOf(analysis, criterion);
      const small = verify(await cut(graph, analysis.coupling, analysis.facts, masks));
      const reference = masked(graph, analysis.coupling, analysis.facts, masks);
      const law = await checkLaw(runtime, reference, small, [feeds]);
      expect(law.relative).toBeLessThan(1e-4);
      expect(floats(small)).toBeLessThan(0.75 * floats(graph));
    }
  });

  it("catches a planted fault: another set of units does not agree", async () => {
    const { graph } = await skeletons.model("mobilenet_v3_small");
    const analysis = await analyse(graph, runtime);
    const masks = await masksOf(analysis, magnitude(2));
    const other = await masksOf(analysis, random(7));
    const small = await cut(graph, analysis.coupling, analysis.facts, masks);
    const reference = masked(graph, analysis.coupling, analysis.facts, other);
    const law = await checkLaw(runtime, reference, small, [await feedsOf(analysis)]);
    expect(law.passed).toBe(false);
  });
});

async function masksOf(analysis: Analysis, criterion: Criterion<never>): Promise<ReadonlyMap<Group, Uint8Array>> {
  const free = analysis.coupling.groups.filter((group) => group.blocked.length === 0);
  const byParameter = new Map(analysis.matrices.map((matrix) => [matrix.parameter, matrix]));
  const scores = await unitScores(analysis.graph, free, byParameter, criterion, () => ({}));
  const target = { kind: "sparsity", sparsity: 0.3 } as const;
  return unitMasks(scores, allocateUnits(scores, analysis.coupling, analysis.cost, target, unitAllocationDefaults));
}

async function feedsOf(analysis: Analysis): Promise<Feeds> {
  const inputs = [...analysis.inputs].map(([name, { dtype, shape }]) => ({ name, dtype, dims: shape }));
  for await (const { inputs: feeds } of randomInputs(inputs, { count: 2 }).batches(2)) return feeds;
  throw new Error("no inputs");
}

function floats(graph: Analysis["graph"]): number {
  let total = 0;
  for (const { dtype, shape } of graph.constants.values()) {
    if (dtype === "f32") total += shape.reduce((product, n) => product * n, 1);
  }
  return total;
}
