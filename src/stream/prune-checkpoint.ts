import type { Dataset } from "../data/dataset.ts";
import type { Checkpoint } from "../formats/checkpoint/open.ts";
import type { CheckpointModel } from "../models/checkpoint/checkpoint-model.ts";
import type { ZeroOptions } from "../pipeline/zero-weights.ts";
import { matcher } from "../plans/ignore.ts";
import type { WeightPlan } from "../plans/plan.ts";
import { openProducts } from "../runtime/open-products.ts";
import { EspalierError } from "../tensor/error.ts";
import { allAtOnce, type CheckpointPruneOptions, inTurn, type Run, type Target } from "./courses.ts";
import { hiddenInMemory } from "./memory/hidden-states.ts";
import { type ParameterVersion, versionsInMemory } from "./memory/parameter-versions.ts";
import { openRoom, sessionMemory } from "./memory/room.ts";
import type { StagedLayer } from "./report.ts";
import { streamGradients } from "./stages/backward.ts";
import { type Flow, openFlow } from "./stages/flow.ts";
import { type PlacedStage, type StageKinds, stageKinds } from "./stages/stage-kinds.ts";
import { stageMatrices } from "./stages/stage-matrices.ts";
import { isJoint, type StreamedGradient, streamedNeeds, withTable } from "./streamed-plan.ts";
import type { FinishedStage, Work } from "./work.ts";

export interface PrunedCheckpoint {
  /** The checkpoint with pruned tensors in the place of the original ones, as they lie in the work. */
  readonly checkpoint: Checkpoint;
  readonly layers: readonly StagedLayer[];
  readonly skipped: FinishedStage["skipped"];
}

/**
 * Sets weights of the blocks of a checkpoint to zero, one stage after the other: what is in memory is one stage, the next one
 * while it is read, and the hidden states of the calibration windows. Embedding, head and routers stay as they are. Stages that the
 * work has already are not pruned again, which gives the same as if all had been pruned now. Throws `request` for plans
 * that cannot be streamed, `data` for weights that are not finite.
 */
export async function pruneCheckpoint(
  model: CheckpointModel,
  plan: WeightPlan,
  options: CheckpointPruneOptions,
): Promise<PrunedCheckpoint> {
  const { runtime, calibration, work, clock, signal } = options;
  const { inputs: needs, gradients } = streamedNeeds(plan, options);
  const room = options.room ?? openRoom();
  const kinds = stageKinds(model, runtime, sessionMemory(room));
  const products = plan.sweep === undefined ? undefined : openProducts(runtime);
  const zero: ZeroOptions = {
    clock,
    progress: room.collect,
    ...(signal === undefined ? {} : { signal }),
    ...(products === undefined ? {} : { products }),
  };
  let flow: Flow | null = null;
  try {
    const targets = await clock.time("analyse", () => targetsOf(model, kinds.place, options));
    const isOver = targets.every(({ placed }) => work.get(placed.stage.name) !== undefined);
    const versions = options.versions ?? versionsInMemory();
    const makeHidden = options.hidden ?? hiddenInMemory;
    for (const gradient of isOver ? [] : gradients) {
      const data = gradient.general ? options.general : calibration;
      const version = versions.of(gradient.statistic);
      if (data === null || data === undefined) continue;
      await clock.time("gradients", () =>
        gradientsFor(model, kinds, targets, gradient, version, data, { ...options, hidden: makeHidden }),
      );
    }
    if (calibration !== null && needs.length > 0 && !isOver) {
      const through = { ...options, hidden: await makeHidden() };
      flow = await clock.time("embed", () => openFlow(model, kinds, calibration, through));
    }
    const run: Run = {
      model,
      plan: withTable(plan, targets),
      needs,
      gradients,
      versions,
      targets,
      flow,
      options,
      zero,
    };
    if (!isOver) await (isJoint(plan) ? allAtOnce(run) : inTurn(run));
  } finally {
    await flow?.release();
    await products?.release();
    await kinds.release();
  }
  return assembled(model, work);
}

/** Measures gradients of all stages, unless an earlier run did. */
async function gradientsFor(
  model: CheckpointModel,
  kinds: StageKinds,
  targets: readonly Target[],
  { need }: StreamedGradient,
  store: ParameterVersion,
  data: Dataset,
  options: Parameters<typeof streamGradients>[6],
): Promise<void> {
  if (targets.every(({ placed }) => store.has(placed.stage.name))) return;
  const wanted = targets.map(({ placed, matrices }) => ({
    placed,
    parameters: new Set(matrices.map(({ matrix }) => matrix.parameter)),
  }));
  await streamGradients(model, kinds, wanted, need, data, store, options);
}

function assembled(model: CheckpointModel, work: Work): PrunedCheckpoint {
  const finished = model.stages.flatMap(({ name }) => work.get(name) ?? []);
  const changed = new Map(finished.flatMap(({ tensors }) => [...tensors]));
  const tensors = new Map([...model.checkpoint.tensors].map(([name, ref]) => [name, changed.get(name) ?? ref]));
  return {
    checkpoint: { ...model.checkpoint, tensors },
    layers: model.stages.flatMap(({ name }) =>
      (work.get(name)?.layers ?? []).map((layer) => ({ ...layer, stage: name })),
    ),
    skipped: finished.flatMap(({ skipped }) => skipped),
  };
}

async function targetsOf(
  model: CheckpointModel,
  place: (stage: PlacedStage["stage"]) => PlacedStage,
  { ignore = [] }: CheckpointPruneOptions,
): Promise<readonly Target[]> {
  const ignored = matcher(ignore);
  const targets: Target[] = [];
  for (const stage of model.stages.filter(({ role }) => role === "block")) {
    const placed = place(stage);
    const matrices = (await stageMatrices(placed)).filter(
      ({ matrix }) => !ignored(matrix.parameter) && !stage.routers.has(matrix.parameter),
    );
    targets.push({ placed, matrices });
  }
  if (targets.some(({ matrices }) => matrices.length > 0)) return targets;
  throw new EspalierError("request", "prune", "expected at least one weight matrix, got none.", "Check --ignore.");
}
