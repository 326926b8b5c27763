import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { loadSizes } from "../../src/models/loaders/sizes.ts";
import { willLoad } from "../../src/models/loaders/will-load.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { toFloat32 } from "../../src/tensor/numeric.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { openFixtures } from "./fixtures.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

describe("models as Transformers writes them", () => {
  const written = openFixtures("transformers.br");

  it("are of every kind", () => {
    expect(written.cases.length).toBeGreaterThan(20);
  });

  it.each(written.cases.map(({ name }) => name))("%s computes what it computes there", async (name) => {
    const expected = await written.expected(name);
    const model = checkpointModel(await written.open(name));
    const worst = await difference(model, expected);
    expect(worst).toBeLessThan(1e-5);
  });

  it("another base of positions is seen", async () => {
    const model = checkpointModel(
      await written.open("qwen2", { rope_parameters: { rope_theta: 500, rope_type: "default" } }),
    );
    expect(await difference(model, await written.expected("qwen2"))).toBeGreaterThan(1e-3);
  });

  async function difference(model: CheckpointModel, expected: ReadonlyMap<string, HostTensor>): Promise<number> {
    const { graph } = model.graph(expected.has("attention_mask") ? "padded" : "tokens");
    const session = await runtime.compile(graph);
    const found = await session.run(
      new Map(graph.inputs.map(({ name }) => [name, expected.get(name) ?? expect.fail(name)])),
    );
    await session.release();
    let worst = 0;
    let compared = 0;
    for (const [name, tensor] of found) {
      const other = expected.get(name);
      if (other === undefined) continue;
      compared++;
      const [a, b] = [toFloat32(tensor), toFloat32(other)];
      expect(tensor.shape).toEqual(other.shape);
      const size = b.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      for (const [i, x] of b.entries()) worst = Math.max(worst, Math.abs(x - (a[i] ?? Number.NaN)) / size);
    }
    expect(compared).toBeGreaterThan(0);
    return worst;
  }
});

const verdict = z.enum(["loads", "limited", "refused"]);
const recorded = z.object({
  cases: z.array(
    z.object({
      case: z.string(),
      fields: z.record(z.string(), z.number()).nullable(),
      transformers: verdict,
      "llama.cpp": verdict.optional(),
    }),
  ),
});

/** What Transformers and llama.cpp made of pruned checkpoints (test/loaders), beside what is said of these sizes. */
describe("what loaders made of sizes is what is said of them", () => {
  const fixtures = openFixtures();
  const { cases } = recorded.parse(
    JSON.parse(readFileSync(new URL("../fixtures/loads.json", import.meta.url), "utf8")),
  );

  it.each([...new Set(cases.map((one) => one.case))])("%s", async (name) => {
    const original = loadSizes(checkpointModel(await fixtures.open(name)));
    for (const { fields, ...found } of cases.filter((one) => one.case === name)) {
      if (fields === null) continue;
      const sizes = original.at(new Map(Object.entries(fields)));
      const said = willLoad(sizes, original, ["transformers", "llama.cpp"]).map(({ verdict: word }) => word);
      const told = `${name} ${JSON.stringify(fields)}`;
      // A kernel is picky by bytes of a row, which only the stored type tells: what is said is for 16 bits.
      expect(said[0] === "refused", `transformers: ${told}`).toBe(found.transformers === "refused");
      if (found.transformers === "limited") expect(said[0], `transformers: ${told}`).toBe("limited");
      if (found["llama.cpp"] === undefined) continue;
      expect(said[1] === "refused", `llama.cpp: ${told}`).toBe(found["llama.cpp"] === "refused");
    }
  });

  it("uneven blocks were refused by both", () => {
    const uneven = cases.filter(({ fields }) => fields === null);
    expect(uneven.length).toBeGreaterThan(5);
    for (const one of uneven) {
      expect(one.transformers).toBe("refused");
      expect(one["llama.cpp"] ?? "refused").toBe("refused");
    }
  });
});
