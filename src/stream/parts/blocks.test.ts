import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { branchesOf } from "../../coupling/branches.ts";
import { analyse } from "../../models/analysis.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { phaseClock } from "../../pipeline/measuring/phase-clock.ts";
import { checkpointPlanOf } from "../../plans/checkpoint-plan.ts";
import type { PartPlan } from "../../plans/parts.ts";
import type { Settings } from "../../plans/settings.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { scoreBranches, spansOf } from "../../search/choose-branches.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import { load } from "../../tensor/tensor.ts";
import { madeUpText } from "../../testbeds/made-up-text.ts";
import { llamaCheckpoint } from "../../testbeds/models/llama-checkpoint.ts";
import { checkpointLikelihood } from "../evaluate-checkpoint.ts";
import { hiddenInMemory } from "../memory/hidden-states.ts";
import { openRoom } from "../memory/room.ts";
import { blocks } from "./blocks.ts";
import { checkParts } from "./check-parts.ts";
import { pruneParts, scoreParts } from "./prune-parts.ts";

const sizes = { vocabulary: 40, width: 16, layers: 4, heads: 2, kvHeads: 1, inner: 24 };
const text = madeUpText(6, 12, sizes.vocabulary, 5);

let runtime: Runtime;
let model: CheckpointModel;

beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  model = checkpointModel(llamaCheckpoint(sizes));
});
afterAll(() => runtime.close());

function planOf(settings: Settings): PartPlan {
  const plan = checkpointPlanOf({ granularity: "block", ...settings }, 0);
  return plan.kind === "parts" ? plan : expect.fail();
}

const options = () => ({ runtime, calibration: text, batchSize: 2, clock: phaseClock() });
const prune = (settings: Settings, from = model) => pruneParts(from, planOf(settings), options());

describe("blocks of a checkpoint", () => {
  it("have the influence that the whole graph measures of them in memory", async () => {
    const scores = await scoreParts(model, planOf({ sparsity: 0.25 }), options());
    const analysis = await analyse(model.graph().graph, runtime);
    const { graph, coupling, facts } = analysis;
    const spans = spansOf(branchesOf(graph, coupling, facts), 2);
    const context = { runtime, analysis, calibration: text, batchSize: 2, seed: 0 };
    const expected = await scoreBranches(context, spans, "influence", false);
    const found = [...(scores.get("num_hidden_layers") ?? [])];
    expect(found).toHaveLength(4);
    for (const [i, { score }] of expected.entries()) expect(found[i]).toBeCloseTo(score, 5);
    expect(new Set(found).size).toBe(4);
  });

  it("cost the text what it costs without each alone", async () => {
    const scores = await scoreParts(model, planOf({ sparsity: 0.25, criterion: "error" }), options());
    const { checkpoint } = await prune({ sparsity: 0.25, criterion: "error" });
    const [own] = scores.values();
    const worst = [...(own ?? [])].indexOf(Math.min(...(own ?? [])));
    const left = [0, 1, 2, 3].filter((block) => block !== worst);
    expect(checkpoint.kept?.blocks).toEqual(left);
    const quiet = { runtime, batchSize: 3, hidden: hiddenInMemory() };
    const { nll, count } = await checkpointLikelihood(checkpointModel(checkpoint), text, quiet);
    expect(own?.[worst]).toBeCloseTo(nll / count, 5);
  });

  it("leave a checkpoint whose blocks are those of the original, and no others", async () => {
    const { checkpoint, parts, law } = await prune({ sparsity: 0.5, criterion: "last" });
    expect(checkpoint.kept?.blocks).toEqual([0, 1]);
    expect(checkpoint.config["num_hidden_layers"]).toBe(2);
    expect(parts).toEqual([
      { name: "num_hidden_layers", what: "blocks", before: 4, after: 2, gone: [2, 3], scores: [-0, -1, -2, -3] },
    ]);
    expect(law).toMatchObject({ relative: 0, passed: true });
    const name = "model.layers.1.mlp.up_proj.weight";
    const both = await Promise.all(
      [model.checkpoint, checkpoint].map(({ tensors }) => load(tensors.get(name) ?? expect.fail())),
    );
    expect(toFloat32(both[0] ?? expect.fail())).toEqual(toFloat32(both[1] ?? expect.fail()));
  });

  it("stay where they hold what is ignored, and where there is nothing to gain", async () => {
    const plan = planOf({ sparsity: 0.5, criterion: "last" });
    const { checkpoint } = await pruneParts(model, plan, { ...options(), ignore: ["model.layers.3.*"] });
    expect(checkpoint.kept?.blocks).toEqual([0, 3]);
    const whole = await prune({ sparsity: 0 });
    expect(whole.checkpoint).toBe(model.checkpoint);
  });

  it("go until few enough parameters remain, and not one more", async () => {
    const size = (of: CheckpointModel["checkpoint"]): number =>
      [...of.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    const { checkpoint, parts } = await prune({ keepParams: 0.6, criterion: "last" });
    expect(size(checkpoint) / size(model.checkpoint)).toBeLessThanOrEqual(0.6);
    const [{ after = 0 } = {}] = parts;
    const one = await prune({ sparsity: 1 - (after + 1) / 4, criterion: "last" });
    expect(size(one.checkpoint) / size(model.checkpoint)).toBeGreaterThan(0.6);
  });

  it("are told apart from others by the law", async () => {
    const { checkpoint, kept } = await prune({ sparsity: 0.5, criterion: "random" });
    const small = checkpointModel(checkpoint);
    const quiet = { runtime, room: openRoom(), seed: 0 };
    await expect(checkParts(model, small, blocks, kept, quiet)).resolves.toMatchObject({ passed: true });
    const [left = []] = kept.values();
    const others = [0, 1, 2, 3].filter((block) => !left.includes(block));
    const wrong = checkParts(model, small, blocks, new Map([["num_hidden_layers", others]]), quiet);
    await expect(wrong).rejects.toThrow("expected what the original computes with the blocks that went masked");
  });
});

describe("what cannot be done with blocks", () => {
  it.each<[Settings, string]>([
    [
      { sparsity: 1 },
      "--sparsity: expected at most 0.75 of the blocks, got 1. Of the 4 blocks of num_hidden_layers, 1 have to stay: a model has one at least.",
    ],
    [
      { keepParams: 0.01, criterion: "last" },
      "--keep-params: expected a target that is met by removing blocks, got 0.01. Without all that may go",
    ],
    [
      { sparsity: 0.5, scope: "global" },
      "--scope global: expected an option for --granularity block, got another's. All of them compete.",
    ],
    [{ sparsity: 0.5, recover: "lsq" }, "--recover lsq: expected an option for --granularity block"],
    [
      { sparsity: 0.5, criterion: "infuence" },
      'expected a criterion for --granularity block, got "infuence". Did you mean',
    ],
    [{ keepMacs: 0.5 }, "--keep-macs: expected an option for --granularity block"],
    [{}, "--granularity block: expected one of --sparsity, --keep-params and --max-bytes, got 0."],
  ])("is refused: %j", async (settings, message) => {
    await expect(async () => prune(settings)).rejects.toThrow(message);
  });

  it("without windows, where they are looked at", async () => {
    const plan = planOf({ sparsity: 0.5 });
    const run = pruneParts(model, plan, { ...options(), calibration: null });
    await expect(run).rejects.toThrow("influence: expected calibration inputs, got none.");
  });
});
