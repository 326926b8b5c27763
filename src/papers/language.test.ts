import { afterAll, beforeAll, expect, it } from "vitest";
import type { Comparison } from "../claims/reproduction.ts";
import { innerOf } from "../coupling/inner.ts";
import { randomInputs } from "../data/random-inputs.ts";
import { take } from "../data/subset.ts";
import { fromTexts } from "../data/text/documents.ts";
import { tokenWindows } from "../data/text/token-windows.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import { analyse } from "../models/analysis.ts";
import { checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { modelFrom } from "../models/model.ts";
import { prune } from "../pipeline/prune.ts";
import { leastSquares } from "../recovery/lsq.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { random } from "../tensor/random.ts";
import { load } from "../tensor/tensor.ts";
import { benchOn } from "../testbeds/bench/bench.ts";
import { llamaCheckpoint } from "../testbeds/models/llama-checkpoint.ts";
import type { Testbed } from "../testbeds/testbed.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import { flap } from "./flap.ts";
import { mawWidth } from "./maw-width.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const sizes = { vocabulary: 40, width: 16, layers: 2, heads: 4, kvHeads: 2, inner: 24, tied: true };
const graph = checkpointModel(llamaCheckpoint(sizes, "f32")).graph().graph;

/** A token for each letter; 1 begins. */
const letters: Tokenizer = {
  name: "letters",
  vocabularySize: 40,
  special: { begin: 1, end: [2], pad: 0, unknown: null },
  encode: (text) => Int32Array.from(text, (c) => 3 + (c.charCodeAt(0) % 32)),
  decode: () => "",
  token: () => "",
  chat: null,
};

/** A Llama that has learnt nothing, over random letters: what is counted must be right all the same. */
async function untaught(): Promise<Testbed> {
  const draw = random(0, "letters");
  const text = Array.from({ length: 900 }, () => String.fromCharCode(97 + draw.int(26))).join("");
  const { inputs } = graph;
  const windows = await tokenWindows(fromTexts([text]), { tokenizer: letters, window: 12, inputs, whole: true });
  return {
    id: "untaught",
    description: "untaught",
    model: modelFrom("untaught", modelOf(graph)),
    pool: take(windows, 32),
    test: take(windows, 20),
    noise: (count, seed) => randomInputs(inputs, { count, seed }),
  };
}

it("units inside branches are heads and neurons, without what passes and what heads are made of", async () => {
  const { coupling, facts } = await analyse(graph, runtime);
  const { heads, neurons } = innerOf(graph, coupling, facts);
  const named = (groups: Iterable<{ readonly id: string; readonly size: number }>) =>
    [...groups].map(
      ({ id, size }) => `${id.replace(/model\.layers\.(\d)\..*\./, "$1 ").replace(".weight", "")} ${size}`,
    );
  const each = (suffix: string) => [0, 1].map((block) => expect.stringMatching(new RegExp(`^${block} .*${suffix}$`)));
  expect(named(heads)).toEqual(each(" 2"));
  expect(named(neurons)).toEqual(each(" 24"));
  expect(coupling.groups.filter(({ blocked }) => blocked.length === 0).length).toBeGreaterThan(4);
});

it("least squares leave a table of embeddings alone that is the head as well, and repair the rest", async () => {
  const { model, pool } = await untaught();
  const plan = mawWidth.plan({ sparsity: 0.4 });
  const options = { runtime, calibration: pool, measure: false };
  const bare = await prune(model, plan, options);
  const repaired = await prune(model, { ...plan, recovery: [leastSquares()] }, options);
  const table = async ({ model: { onnx } }: typeof bare) => {
    const ref = onnx.graph.constants.get("model.embed_tokens.weight");
    return ref === undefined ? expect.fail("no table") : load(ref);
  };
  expect((await table(repaired)).bytes).toEqual((await table(bare)).bytes);
  const error = ({ report }: typeof bare) => report.fidelity?.relativeError ?? Number.NaN;
  expect(error(repaired)).toBeLessThan(0.97 * error(bare));
});

it("a language model is compared by its loss, at equal parameters, arms only where they are asked for", async () => {
  const comparison: Comparison = {
    budget: "params",
    by: "loss",
    among: { units: "inner" },
    removed: [0.2, 0.3],
    calibration: 8,
    arms: {
      FLAP: { plan: ({ removed }) => flap.plan({ sparsity: removed }) },
      "FLAP, once": { at: [0.3], plan: ({ removed }) => flap.plan({ sparsity: removed, bias: "none" }) },
    },
    expect: [
      { better: "FLAP", than: "random", at: [0.2], by: 9 },
      { better: "random", than: "FLAP", at: [0.2], by: -9 },
      { better: "dense", than: "FLAP, once", at: [0.3], by: -9 },
    ],
  };
  const testbed = await untaught();
  const { dense, measurements, checks, by } = await benchOn(testbed, { runtime, draws: 1 }).compare(comparison);
  expect(by).toBe("loss");
  expect(dense.samples).toBe(20 * 11);
  expect(dense.nll).toBeGreaterThan(Math.log(30));
  const arms = (removed: number) => measurements.filter((one) => one.removed === removed).map(({ arm }) => arm);
  expect(arms(0.2)).toEqual(["FLAP", "random", "global magnitude"]);
  expect(arms(0.3)).toEqual(["FLAP", "FLAP, once", "random", "global magnitude"]);
  for (const { really, removed } of measurements) {
    // Biases that take over means are parameters too.
    expect(really).toBeGreaterThan(removed - 0.02);
    expect(really).toBeLessThan(removed + 0.15);
  }
  const of = (arm: string) => measurements.find((one) => one.arm === arm && one.removed === 0.2)?.nll[0] ?? Number.NaN;
  expect(checks.map(({ holds }) => holds)).toEqual([false, true, true]);
  expect(checks[0]?.difference).toBeCloseTo(of("random") - of("FLAP"), 9);
  const once = measurements.find(({ arm }) => arm === "FLAP, once")?.nll[0] ?? Number.NaN;
  expect(checks[2]?.difference).toBeCloseTo(once - dense.nll, 9);
});
