import { edit } from "../../graph/edit.ts";
import type { Feeds } from "../../graph/graph.ts";
import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { farthest, LAW_TOLERANCE, type LawResult } from "../../surgery/law.ts";
import { EspalierError } from "../../tensor/error.ts";
import { toFloat64 } from "../../tensor/numeric.ts";
import { type Job, step } from "../../tensor/progress.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { type Room, sessionMemory } from "../memory/room.ts";
import { randomTokens } from "../stages/random-tokens.ts";
import { type PlacedStage, type StageKinds, type StageSession, stageKinds } from "../stages/stage-kinds.ts";
import { feedWeights, loadCounted } from "../stages/stage-weights.ts";
import type { KeptParts, PartKind } from "./part-kind.ts";

interface CheckOptions extends Job {
  readonly runtime: Runtime;
  readonly room: Room;
  readonly seed: number;
}

/**
 * Holds a checkpoint without some parts against the original with these masked, stage by stage, on random inputs that pass through.
 * Throws `law` where a stage differs.
 */
export async function checkParts(
  model: CheckpointModel,
  small: CheckpointModel,
  kind: Pick<PartKind, "masked" | "many">,
  kept: KeptParts,
  options: CheckOptions,
): Promise<LawResult> {
  const { runtime, room, seed } = options;
  const memory = sessionMemory(room);
  const [before, after] = [stageKinds(model, runtime, memory), stageKinds(small, runtime, memory)];
  const work = room.account.take("what stages work with", room.forward);
  let [maxAbsDiff, relative] = [0, 0];
  try {
    let [passed] = randomTokens(small, seed).values();
    for (const [i, stage] of small.stages.entries()) {
      step(options, "check", i, small.stages.length, stage.name);
      if (passed === undefined) break;
      const placed = after.place(stage);
      const session = await placed.kind.session("forward", placed.kind.graph, [stage.output.name]);
      const got = await run(small, placed, session, new Map([[stage.input.name, passed]]), stage.output.name, options);
      const expected = await masked(model, before, kind.masked(model, kept, stage), passed, options);
      if (got.bytes.length !== expected.bytes.length) throw differs(stage.name, "another shape", kind);
      const { difference, magnitude } = farthest(toFloat64(expected), toFloat64(got));
      const own = magnitude > 0 ? difference / magnitude : difference;
      if (!(own <= LAW_TOLERANCE)) throw differs(stage.name, own.toExponential(2), kind);
      maxAbsDiff = Math.max(maxAbsDiff, difference);
      relative = Math.max(relative, own);
      passed = got;
    }
    step(options, "check", small.stages.length, small.stages.length);
  } finally {
    work();
    await before.release();
    await after.release();
  }
  return { maxAbsDiff, relative, tolerance: LAW_TOLERANCE, passed: true, batches: 1 };
}

async function masked(
  model: CheckpointModel,
  kinds: StageKinds,
  { stage, mask }: ReturnType<PartKind["masked"]>,
  x: HostTensor,
  options: CheckOptions,
): Promise<HostTensor> {
  const placed = kinds.place(stage);
  const { kind } = placed;
  const draft = edit(kind.graph);
  const output = mask?.write(draft, kind.first) ?? stage.output.name;
  const session = await kind.session(mask?.name ?? "forward", draft.finish(), [output]);
  return run(model, placed, session, new Map([[stage.input.name, x], ...(mask?.feeds ?? [])]), output, options);
}

async function run(
  model: CheckpointModel,
  placed: PlacedStage,
  { session, reads }: StageSession,
  feeds: Feeds,
  output: string,
  { runtime, room }: CheckOptions,
): Promise<HostTensor> {
  const { weights, back } = await loadCounted(room.account, model, placed);
  const state = await runtime.state();
  try {
    await feedWeights(state, placed, weights);
    const values = await session.run(feeds, undefined, { state, reads, writes: new Map() });
    const found = values.get(output);
    if (found !== undefined) return found;
    throw new EspalierError("runtime", placed.stage.name, `expected the value ${output}, got none.`);
  } finally {
    await state.release();
    back();
  }
}

function differs(stage: string, got: string, { many }: Pick<PartKind, "many">): EspalierError {
  const message = `expected what the original computes with the ${many} that went masked, within ${LAW_TOLERANCE}, got ${got}.`;
  return new EspalierError("law", stage, message, "Nothing was written. Leave that stage out with --ignore.");
}
