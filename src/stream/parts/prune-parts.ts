import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { loadSizes } from "../../models/loaders/sizes.ts";
import type { LoaderName } from "../../models/loaders/table.ts";
import { type Load, refuseUnloadable, willLoad } from "../../models/loaders/will-load.ts";
import { needsData } from "../../pipeline/statistics.ts";
import { matcher } from "../../plans/ignore.ts";
import type { PartPlan } from "../../plans/parts.ts";
import type { LawResult } from "../../surgery/law.ts";
import { EspalierError } from "../../tensor/error.ts";
import { hiddenInMemory } from "../memory/hidden-states.ts";
import { openRoom } from "../memory/room.ts";
import type { PartsLeft } from "../report.ts";
import { checkParts } from "./check-parts.ts";
import { type ChosenParts, chooseParts } from "./choose-parts.ts";
import type { KeptParts, PartContext, PartScores } from "./part-kind.ts";
import { criterionOf, partKindOf } from "./part-kinds.ts";

export interface PartPruneOptions extends Pick<PartContext, "runtime" | "calibration" | "batchSize" | "clock"> {
  /** Parts that hold a parameter which one of these names stay. */
  readonly ignore?: readonly string[];
  /** What has to load the result; nothing is done where one would not. */
  readonly loaders?: readonly LoaderName[];
  /** Where hidden states are held; in memory unless told. */
  readonly hidden?: PartContext["hidden"];
  /** The memory that the run has; as much as it takes unless told. */
  readonly room?: PartContext["room"];
  readonly progress?: NonNullable<PartContext["progress"]>;
  readonly signal?: AbortSignal;
}

export interface PrunedParts {
  readonly checkpoint: Checkpoint;
  readonly kept: KeptParts;
  readonly parts: readonly PartsLeft[];
  readonly law: LawResult;
  readonly loads: readonly Load[];
  readonly advice: readonly string[];
}

/**
 * Removes numbered parts of a checkpoint: whole blocks, say. Scores are measured stage by stage, with one stage in memory and
 * the hidden states of the calibration windows; what is left is a checkpoint whose tensors stay in their files until they
 * are written. Every stage of it is held against the original with the parts that went masked. Throws `request` where more would
 * have to go than can or a loader would refuse the result, `data` where a criterion lacks windows, `law` where a stage differs.
 */
export async function pruneParts(
  model: CheckpointModel,
  plan: PartPlan,
  options: PartPruneOptions,
): Promise<PrunedParts> {
  checkPartPlan(model, plan, options);
  return removeParts(model, plan, await scoreParts(model, plan, options), options);
}

/**
 * Throws what `pruneParts` would throw, as far as it can be told before anything is measured: how many parts go does not
 * depend on their scores unless sets of them compete.
 */
export function checkPartPlan(
  model: CheckpointModel,
  plan: PartPlan,
  options: Pick<PartPruneOptions, "calibration" | "ignore" | "loaders">,
): void {
  const sizes = loadSizes(model);
  refuseUnloadable(willLoad(sizes, sizes, options.loaders ?? []), model.name);
  if (criterionOf(plan).needsData && options.calibration === null) throw needsData(plan.criterion);
  if (plan.scope !== "group") return;
  const { checkpoint } = chosenOf(model, plan, new Map(), options);
  if (partKindOf(plan).sameSizes) loadsOf(model, checkpointModel(checkpoint), options.loaders);
}

/** Scores all parts. Throws `data` where one is no finite number. */
export async function scoreParts(
  model: CheckpointModel,
  plan: PartPlan,
  options: PartPruneOptions,
): Promise<PartScores> {
  const { hidden = hiddenInMemory, room = openRoom() } = options;
  const sets = partKindOf(plan).sets(model);
  const scores = await criterionOf(plan).score({ ...options, model, sets, hidden, room, seed: plan.seed });
  for (const [name, own] of scores) {
    const strange = own.findIndex((score) => !Number.isFinite(score));
    if (strange < 0) continue;
    const message = `expected finite scores, got ${own[strange]} for ${partKindOf(plan).one} ${strange}.`;
    throw new EspalierError("data", `${model.name}: ${name}`, message, "Look for weights that are not finite.");
  }
  return scores;
}

/** Removes the parts with the least scores. Throws like `pruneParts`. */
export async function removeParts(
  model: CheckpointModel,
  plan: PartPlan,
  scores: PartScores,
  options: PartPruneOptions,
): Promise<PrunedParts> {
  const { room = openRoom(), clock } = options;
  const kind = partKindOf(plan);
  const { kept, advice, ...chosen } = chosenOf(model, plan, scores, options);
  const isRefused = kept.size > 0 && !takes(model, checkpointModel(chosen.checkpoint), options.loaders);
  const alike = isRefused ? kind.alike?.(model, kept) : undefined;
  const checkpoint = alike ?? chosen.checkpoint;
  const small = checkpointModel(checkpoint);
  const loads = loadsOf(model, small, options.loaders);
  const law = await clock.time("check", () =>
    checkParts(model, small, kind, kept, { ...options, room, seed: plan.seed }),
  );
  const parts = kind.sets(model).map(({ name, count }): PartsLeft => {
    const left = new Set(kept.get(name) ?? Array.from({ length: count }, (_, part) => part));
    const gone = Array.from({ length: count }, (_, part) => part).filter((part) => !left.has(part));
    return { name, what: kind.many, before: count, after: left.size, gone, scores: [...(scores.get(name) ?? [])] };
  });
  const zeros = `The ${kind.many} that went are zeros in the checkpoint, since all blocks have to be alike: it is as large and as slow as before.`;
  return { checkpoint, kept, parts, law, loads, advice: [...advice, ...(alike === undefined ? [] : [zeros])] };
}

/** True where every loader that is asked for takes the result. */
function takes(model: CheckpointModel, small: CheckpointModel, asked: readonly LoaderName[] = []): boolean {
  return willLoad(loadSizes(small), loadSizes(model), asked).every(({ verdict }) => verdict !== "refused");
}

function chosenOf(
  model: CheckpointModel,
  plan: PartPlan,
  scores: PartScores,
  { ignore = [] }: Pick<PartPruneOptions, "ignore">,
): ChosenParts {
  const kind = partKindOf(plan);
  const keep = (kept: KeptParts): Checkpoint => (kept.size === 0 ? model.checkpoint : kind.keep(model, kept));
  return chooseParts(model.checkpoint, kind, kind.sets(model), scores, plan, keep, matcher(ignore));
}

/** What loaders make of the result. Throws `request` where one that is asked for would refuse it. */
function loadsOf(model: CheckpointModel, small: CheckpointModel, asked: readonly LoaderName[] = []): readonly Load[] {
  const [before, after] = [loadSizes(model), loadSizes(small)];
  refuseUnloadable(willLoad(after, before, asked), model.name);
  return willLoad(after, before);
}
