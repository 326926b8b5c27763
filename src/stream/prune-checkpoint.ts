import { erk } from "../allocation/densities.ts";
import type { Statistic } from "../criteria/criterion.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Checkpoint } from "../formats/checkpoint/open.ts";
import type { CheckpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { needsData } from "../pipeline/statistics.ts";
import { needsOf, type ZeroOptions } from "../pipeline/zero-weights.ts";
import { matcher } from "../plans/ignore.ts";
import type { WeightPlan } from "../plans/plan.ts";
import { openProducts } from "../runtime/open-products.ts";
import type { WeightLayer } from "../sparsify/prune-weights.ts";
import type { Need } from "../stats/tap-matrices.ts";
import { EspalierError } from "../tensor/error.ts";
import { allAtOnce, type CheckpointPruneOptions, inTurn, type Run, type Target } from "./courses.ts";
import { type Flow, openFlow } from "./flow.ts";
import { hiddenInMemory } from "./hidden-states.ts";
import { type PlacedStage, stageKinds } from "./stage-kinds.ts";
import { stageMatrices } from "./stage-matrices.ts";
import type { FinishedStage, Work } from "./work.ts";

export interface PrunedCheckpoint {
  /** The checkpoint with pruned tensors in the place of the original ones, as they lie in the work. */
  readonly checkpoint: Checkpoint;
  readonly layers: readonly WeightLayer[];
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
  const needs = streamedNeeds(plan, calibration);
  const kinds = stageKinds(model, runtime);
  const products = plan.sweep === undefined ? undefined : openProducts(runtime);
  const zero: ZeroOptions = {
    clock,
    ...(signal === undefined ? {} : { signal }),
    ...(products === undefined ? {} : { products }),
  };
  let flow: Flow | null = null;
  try {
    const targets = await clock.time("analyse", () => targetsOf(model, kinds.place, options));
    const isOver = targets.every(({ placed }) => work.get(placed.stage.name) !== undefined);
    if (calibration !== null && needs.length > 0 && !isOver) {
      const hidden = await (options.hidden ?? hiddenInMemory)();
      const through = { ...options, hidden };
      flow = await clock.time("embed", () => openFlow(model, kinds, calibration, through));
    }
    const run: Run = { model, plan: withTable(plan, targets), needs, targets, flow, options, zero };
    if (!isOver) await (isJoint(plan) ? allAtOnce(run) : inTurn(run));
  } finally {
    await flow?.release();
    await products?.release();
    await kinds.release();
  }
  return assembled(model, work);
}

function assembled(model: CheckpointModel, work: Work): PrunedCheckpoint {
  const finished = model.stages.flatMap(({ name }) => work.get(name) ?? []);
  const changed = new Map(finished.flatMap(({ tensors }) => [...tensors]));
  const tensors = new Map([...model.checkpoint.tensors].map(([name, ref]) => [name, changed.get(name) ?? ref]));
  return {
    checkpoint: { ...model.checkpoint, tensors },
    layers: finished.flatMap(({ layers }) => layers),
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

/** True where weights of different stages compete, so that all have to be measured before one can be pruned. */
function isJoint({ pattern, scope, profile, sweep }: WeightPlan): boolean {
  return pattern.kind !== "n:m" && sweep !== "choose" && (scope === "global" || profile === "lamp");
}

/** The plan with the share of each matrix, where that follows from the shapes of all (ERK). */
function withTable(plan: WeightPlan, targets: readonly Target[]): WeightPlan {
  if (plan.profile !== "erk" || plan.pattern.kind === "n:m" || plan.scope === "global") return plan;
  const matrices = targets.flatMap((target) => target.matrices.map(({ matrix }) => matrix));
  const shapes = matrices.map(({ parameter, shape }) => ({ name: parameter, shape }));
  const densities = erk(shapes, 1 - plan.sparsity);
  const table = new Map(shapes.map(({ name }, i) => [name, 1 - (densities[i] ?? 1)]));
  return { ...plan, profile: "uniform", table: new Map([...table, ...(plan.table ?? [])]) };
}

/** What a plan has measured of each stage. Throws `request` for a plan that cannot be streamed, or that lacks data. */
export function streamedNeeds(plan: WeightPlan, calibration: Dataset | null): readonly Need[] {
  checkPlan(plan);
  const needs = needsOf(plan).map((need) => measurable(need, plan));
  if (needs.length > 0 && calibration === null) throw needsData(plan.criterion.id);
  return needs;
}

/** Throws `request` for what cannot be done stage by stage. */
function checkPlan(plan: WeightPlan): void {
  const refuse = (what: string, hint: string): never => {
    throw new EspalierError("request", what, "expected a plan that goes through a checkpoint once, got another.", hint);
  };
  if ((plan.rounds ?? 1) > 1) refuse("--rounds", "Leave it out.");
  if (plan.recovery.length > 0) refuse("--recover", "A sweep repairs while it prunes: --criterion sparsegpt.");
  if (plan.allocator !== undefined) refuse(plan.allocator.id, "Give a sparsity, or one for each tensor.");
  if (isJoint(plan) && plan.sweep !== undefined) refuse("--scope global", "A sweep keeps to its layer: leave it out.");
}

const inputNeeds = ["inputMean", "inputMeanSquare", "gram"] as const satisfies readonly Need[];

function measurable(need: Statistic, { criterion }: WeightPlan): Need {
  const found = inputNeeds.find((name) => name === need);
  if (found !== undefined) return found;
  const message = `expected a criterion of weights and inputs, got one that reads ${need}.`;
  throw new EspalierError("request", `--criterion ${criterion.id}`, message, "Use wanda, sparsegpt, l1, l2 or random.");
}
