import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromTensors } from "../../src/data/from-tensors.ts";
import { edit } from "../../src/graph/edit.ts";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { phaseClock } from "../../src/pipeline/measuring/phase-clock.ts";
import { type PartOptions, parts } from "../../src/plans/parts.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { openRoom } from "../../src/stream/memory/room.ts";
import { checkParts } from "../../src/stream/parts/check-parts.ts";
import { experts } from "../../src/stream/parts/experts.ts";
import { pruneParts, scoreParts } from "../../src/stream/parts/prune-parts.ts";
import { fromInts, toFloat32, toFloat64 } from "../../src/tensor/numeric.ts";
import { random } from "../../src/tensor/random.ts";
import { type HostTensor, load } from "../../src/tensor/tensor.ts";
import { openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
const draw = random(7);
const [windows, time] = [5, 9];
const tokens = Array.from({ length: windows * time }, () => draw.int(28));
const text = fromTensors(new Map([["input_ids", fromInts("i64", [windows, time], tokens)]]));

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(() => runtime.close());

const options = () => ({ runtime, calibration: text, batchSize: 2, clock: phaseClock() });
const plan = (settings: Omit<PartOptions, "part">) => parts({ part: "expert", ...settings });
const open = async (name: string, changes?: Readonly<Record<string, unknown>>): Promise<CheckpointModel> =>
  checkpointModel(await fixtures.open(name, changes));

/** Router by router, with what its config says, as a plain loop over tokens has it. */
const routers: readonly Router[] = [
  { name: "mixtral", changes: {}, top: 2, normalise: true },
  { name: "qwen2_moe", changes: {}, top: 2, normalise: false },
  { name: "qwen3_moe", changes: {}, top: 2, normalise: true },
  { name: "olmoe", changes: {}, top: 2, normalise: false },
  {
    name: "deepseek_v2",
    changes: { num_experts_per_tok: 2 },
    top: 2,
    normalise: false,
    groups: 4,
    best: 2,
    scale: 1.5,
  },
  {
    ...{ name: "deepseek_v3", changes: { n_group: 2, topk_group: 1 }, top: 3, normalise: true },
    ...{ groups: 2, best: 1, scale: 1.5, sigmoid: true },
  },
];

interface Router {
  readonly name: string;
  readonly changes: Readonly<Record<string, unknown>>;
  readonly top: number;
  readonly normalise: boolean;
  readonly groups?: number;
  readonly best?: number;
  readonly scale?: number;
  readonly sigmoid?: boolean;
}

const descending = (values: readonly number[]): number[] =>
  values.map((_, i) => i).sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0));

/** Weights of one token's experts, 0 for those that are not its own. */
function weightsOf(logits: readonly number[], correction: readonly number[], router: Router): number[] {
  const { top, normalise, groups = 1, best = 1, scale = 1, sigmoid = false } = router;
  const largest = Math.max(...logits);
  const powers = logits.map((x) => Math.exp(x - largest));
  const total = powers.reduce((a, b) => a + b, 0);
  const shares = sigmoid ? logits.map((x) => 1 / (1 + Math.exp(-x))) : powers.map((x) => x / total);
  const choice = shares.map((x, i) => x + (correction[i] ?? 0));
  const size = logits.length / groups;
  const ranks = Array.from({ length: groups }, (_, group) => {
    const [one = 0, two = 0] = choice.slice(group * size, (group + 1) * size).sort((a, b) => b - a);
    return sigmoid ? one + two : one;
  });
  const open = descending(ranks).slice(0, best);
  const own = descending(choice)
    .filter((i) => open.includes(Math.floor(i / size)))
    .slice(0, top);
  const sum = normalise ? own.reduce((s, i) => s + (shares[i] ?? 0), 0) : 1;
  return shares.map((x, i) => (own.includes(i) ? (scale * x) / sum : 0));
}

/** What REAP and frequency are, token by token. */
async function bruteForce(
  model: CheckpointModel,
  router: Router,
): Promise<Map<string, { reap: number[]; frequency: number[] }>> {
  let passed: HostTensor = fromInts("i64", [windows, time], tokens);
  const found = new Map<string, { reap: number[]; frequency: number[] }>();
  for (const stage of model.stages.slice(0, -1)) {
    const draft = edit(stage.graph());
    const { mixture } = stage;
    for (const value of mixture === undefined ? [] : [mixture.logits, ...mixture.outputs]) draft.output(value, "f32");
    const session = await runtime.compile(draft.finish());
    const values = await session.run(new Map([[stage.input.name, passed]]));
    await session.release();
    passed = values.get(stage.output.name) ?? expect.fail();
    if (mixture === undefined) continue;
    const numbers = (value: string): Float32Array => toFloat32(values.get(value) ?? expect.fail());
    const count = mixture.outputs.length;
    const bias = [...stage.parameters.keys()].find((key) => key.endsWith("e_score_correction_bias"));
    const correction =
      bias === undefined ? [] : [...toFloat64(await load(model.checkpoint.tensors.get(bias) ?? expect.fail()))];
    const [sums, tokensOf] = [Array<number>(count).fill(0), Array<number>(count).fill(0)];
    for (let token = 0; token < windows * time; token++) {
      const logits = [...numbers(mixture.logits).subarray(token * count, (token + 1) * count)];
      for (const [i, weight] of weightsOf(logits, correction, router).entries()) {
        if (weight === 0) continue;
        const output = numbers(mixture.outputs[i] ?? "").subarray(token * 16, (token + 1) * 16);
        sums[i] = (sums[i] ?? 0) + weight * Math.sqrt(output.reduce((sum, x) => sum + x * x, 0));
        tokensOf[i] = (tokensOf[i] ?? 0) + 1;
      }
    }
    const reap = sums.map((sum, i) => (tokensOf[i] === 0 ? 0 : sum / (tokensOf[i] ?? 1)));
    found.set(model.outline.blocks[stage.block ?? 0]?.experts?.path ?? "", { reap, frequency: tokensOf });
  }
  return found;
}

describe.each(routers)("experts of $name", (router) => {
  it("are worth what a loop over tokens says", async () => {
    const model = await open(router.name, router.changes);
    const expected = await bruteForce(model, router);
    const reap = await scoreParts(model, plan({ sparsity: 0.2 }), options());
    const frequency = await scoreParts(model, plan({ sparsity: 0.2, criterion: "frequency" }), options());
    expect([...reap.keys()]).toEqual([...expected.keys()]);
    for (const [name, own] of expected) {
      expect([...(frequency.get(name) ?? [])]).toEqual(own.frequency);
      expect(own.frequency.reduce((a, b) => a + b, 0)).toBe(router.top * windows * time);
      const found = reap.get(name) ?? expect.fail();
      expect(found).toHaveLength(own.reap.length);
      for (const [i, score] of own.reap.entries()) expect(found[i]).toBeCloseTo(score, 5);
      // Weights that are normalised otherwise would be seen.
      const [other] = (await bruteForce(model, { ...router, normalise: !router.normalise })).values();
      const [first] = expected.values();
      expect(Math.max(...(other?.reap ?? []).map((x, i) => Math.abs(x - (first?.reap[i] ?? 0))))).toBeGreaterThan(1e-4);
    }
  });

  it("that went equal a router that never chooses them, which the law holds", async () => {
    const model = await open(router.name, router.changes);
    const { checkpoint, kept, law, parts: left } = await pruneParts(model, plan({ sparsity: 0.3 }), options());
    expect(law.passed).toBe(true);
    expect(kept.size).toBeGreaterThan(0);
    const scored = await scoreParts(model, plan({ sparsity: 0.3 }), options());
    const runs = router.groups ?? 1;
    for (const { name, before, after, gone } of left) {
      const scores = scored.get(name) ?? expect.fail();
      const size = before / runs;
      for (let run = 0; run < runs; run++) {
        const inside = (part: number): boolean => Math.floor(part / size) === run;
        const out = gone.filter(inside);
        expect(out).toHaveLength((before - after) / runs);
        const stay = (kept.get(name) ?? []).filter(inside);
        expect(Math.max(...out.map((part) => scores[part] ?? 0))).toBeLessThanOrEqual(
          Math.min(...stay.map((part) => scores[part] ?? 0)),
        );
      }
    }
    const small = checkpointModel(checkpoint);
    const quiet = { runtime, room: openRoom(), seed: 1 };
    await expect(checkParts(model, small, experts, kept, quiet)).resolves.toMatchObject({ passed: true });
    // Experts beside the rows of others, and a router that is masked elsewhere.
    const [gate] = [...small.checkpoint.tensors].filter(([name]) => /gate\.weight$/.test(name) && !/shared/.test(name));
    const [name = "", ref] = gate ?? [];
    const rows = ref === undefined ? expect.fail() : await load(ref);
    const turned = { ...rows, bytes: new Uint8Array([...rows.bytes.slice(64), ...rows.bytes.slice(0, 64)]) };
    const tensors = new Map(small.checkpoint.tensors).set(name, {
      dtype: rows.dtype,
      shape: rows.shape,
      resident: turned.bytes,
    });
    const spoilt = checkpointModel({ ...small.checkpoint, tensors });
    await expect(checkParts(model, spoilt, experts, kept, quiet)).rejects.toThrow("with the experts that went masked");
    const others = new Map(
      [...kept].map(([set, own]) => {
        const count = left.find((each) => each.name === set)?.before ?? 0;
        return [set, own.map((part) => count - 1 - part).sort((a, b) => a - b)] as const;
      }),
    );
    await expect(checkParts(model, small, experts, others, quiet)).rejects.toThrow("with the experts that went masked");
  });
});

describe("experts of several blocks", () => {
  it("compete where that is asked for, and the config says how many are left in each", async () => {
    const model = await open("qwen3_moe");
    const scores = new Map(
      (await scoreParts(model, plan({ sparsity: 0.25, criterion: "magnitude" }), options())).entries(),
    );
    const all = [...scores].flatMap(([name, own]) => [...own].map((score, part) => ({ name, score, part })));
    const { parts: left, law } = await pruneParts(
      model,
      plan({ sparsity: 0.25, criterion: "magnitude", scope: "global" }),
      options(),
    );
    expect(law.passed).toBe(true);
    const least = all.sort((a, b) => a.score - b.score).slice(0, 3);
    for (const { name, gone } of left) {
      const expected = least.filter((each) => each.name === name).map(({ part }) => part);
      expect([...gone]).toEqual(expected.sort((a, b) => a - b));
    }
  });

  it("go by the norm of their weights", async () => {
    const model = await open("mixtral");
    const scores = await scoreParts(model, plan({ sparsity: 0.25, criterion: "magnitude" }), options());
    const [own = new Float64Array(0)] = scores.values();
    let sum = 0;
    for (const [name, ref] of model.checkpoint.tensors) {
      if (!name.startsWith("model.layers.0.block_sparse_moe.experts.2.")) continue;
      for (const x of toFloat64(await load(ref))) sum += x * x;
    }
    expect(own[2]).toBeCloseTo(Math.sqrt(sum), 6);
  });

  it("go in whole numbers per group, and what differs from the share is told", async () => {
    const model = await open("deepseek_v3", { n_group: 2, topk_group: 1 });
    const { checkpoint, advice } = await pruneParts(model, plan({ sparsity: 0.15 }), options());
    expect(checkpoint.config["n_routed_experts"]).toBe(6);
    expect(advice).toEqual([
      expect.stringContaining(
        "experts went, where a share of 0.15 is 2: each of the 2 groups of model.layers.1.mlp.experts",
      ),
    ]);
  });
});

describe("experts that cannot go", () => {
  it.each([
    [
      "more than a token needs",
      "mixtral",
      {},
      { sparsity: 0.75 },
      "--sparsity: expected at most 0.5 of the experts, got 0.75. Of the 4 experts of model.layers.0.block_sparse_moe.experts, 2 have to stay: each token gets 2.",
    ],
    [
      "all of them",
      "qwen3_moe",
      {},
      { sparsity: 1, scope: "global" },
      "--sparsity: expected at most 0.666 of the experts, got 1.",
    ],
    [
      "any of small groups",
      "deepseek_v3",
      {},
      { sparsity: 0.5 },
      "8 have to stay: each token gets 3, in the best 2 of 4 groups.",
    ],
    [
      "of a model without",
      "llama",
      {},
      { sparsity: 0.5 },
      "--granularity expert: expected a model with experts, got llama without.",
    ],
    [
      "for too small a share",
      "olmoe",
      {},
      { keepParams: 0.1 },
      "--keep-params: expected a target that is met by removing experts, got 0.1.",
    ],
  ] as const)("%s", async (_, name, changes, settings, message) => {
    const model = await open(name, changes);
    await expect(pruneParts(model, plan(settings), options())).rejects.toThrow(message);
  });

  it("by what they do to a text that is not there", async () => {
    const run = pruneParts(await open("mixtral"), plan({ sparsity: 0.25 }), { ...options(), calibration: null });
    await expect(run).rejects.toThrow("reap: expected calibration inputs, got none.");
  });

  it("where a loader wants as many in every block", async () => {
    const model = await open("qwen3_moe");
    const uneven = { sparsity: 0.25, criterion: "magnitude", scope: "global" } as const;
    const { parts: left, loads } = await pruneParts(model, plan(uneven), options());
    expect(new Set(left.map(({ after }) => after)).size).toBe(2);
    expect(loads.find(({ loader }) => loader === "transformers")?.verdict).toBe("refused");
    const asked = pruneParts(model, plan(uneven), { ...options(), loaders: ["transformers"] });
    await expect(asked).rejects.toThrow("--target transformers");
  });
});
