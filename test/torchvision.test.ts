import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { magnitude } from "../src/criteria/weights/magnitude.ts";
import { random } from "../src/criteria/weights/random.ts";
import { verify } from "../src/graph/passes/verify.ts";
import { analyse } from "../src/models/analysis.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../src/runtime/runtime.ts";
import { cut } from "../src/surgery/cut.ts";
import { checkLaw } from "../src/surgery/law.ts";
import { masked } from "../src/surgery/masked.ts";
import { openSkeletons } from "./fixtures/skeletons.ts";
import { feedsOf, floats, masksOf } from "./laws.ts";

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
