import type { Dataset } from "../../data/dataset.ts";
import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import type { Draft } from "../../graph/draft.ts";
import type { Feeds } from "../../graph/graph.ts";
import type { CheckpointModel, Stage } from "../../models/checkpoint/checkpoint-model.ts";
import type { PhaseClock } from "../../pipeline/measuring/phase-clock.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Job } from "../../tensor/progress.ts";
import type { HiddenStates } from "../memory/hidden-states.ts";
import type { Room } from "../memory/room.ts";

/** Parts that are numbered together, from 0: the blocks of a model, the experts of a block. */
export interface PartSet {
  /** What they are parts of, as it is told and as the config's fields or tensors have it. */
  readonly name: string;
  readonly count: number;
  /** Fewest that stay, and why. */
  readonly least: number;
  readonly because: string;
  /**
   * Runs of as many parts behind each other, from each of which the same number goes: the groups that a router ranks.
   * Default 1.
   */
  readonly runs?: number;
  /** Tensors that go with a part. */
  readonly holds: (part: number) => readonly string[];
}

/** A score for each part of a set, by the name of the set; larger means keep. */
export type PartScores = ReadonlyMap<string, Float64Array>;

/** Numbers of the parts that stay, in their order, by the name of their set. */
export type KeptParts = ReadonlyMap<string, readonly number[]>;

/** What a criterion of parts may look at. */
export interface PartContext extends Job {
  readonly model: CheckpointModel;
  readonly sets: readonly PartSet[];
  readonly runtime: Runtime;
  /** Windows of tokens; null where the criterion needs none. */
  readonly calibration: Dataset | null;
  /** Windows that run at once. */
  readonly batchSize: number;
  readonly hidden: () => HiddenStates | Promise<HiddenStates>;
  readonly room: Room;
  readonly clock: PhaseClock;
  readonly seed: number;
}

export interface PartCriterion {
  readonly needsData: boolean;
  score(context: PartContext): Promise<PartScores>;
}

/** What stands for a stage of the result in the original, where parts that went are masked. */
export interface MaskedStage {
  /** The stage of the original. */
  readonly stage: Stage;
  /** Absent where it does the same as it is. */
  readonly mask?: {
    /** Sessions of masks with the same name and stages of a kind are the same. */
    readonly name: string;
    /**
     * Writes the mask into the graph of the first stage of the kind, with inputs of its own, and gives the value that is
     * compared with what the stage of the result gives.
     */
    write(draft: Draft, first: Stage): string;
    readonly feeds: Feeds;
  };
}

/** A kind of numbered parts that checkpoints lose: what there are, what scores them, and what is left without some. */
export interface PartKind<C extends string = string> {
  /** One part and several, as reports name them. */
  readonly one: string;
  readonly many: string;
  /** True where the sizes of what is left follow from how many parts go, whichever these are. */
  readonly sameSizes: boolean;
  /** Throws `request` where a model has none. */
  sets(model: CheckpointModel): readonly PartSet[];
  readonly criteria: Readonly<Record<C, PartCriterion>>;
  /** The checkpoint without the parts that `kept` does not have. Sets that it does not name stay whole. */
  keep(model: CheckpointModel, kept: KeptParts): Checkpoint;
  /** The same for loaders that want all blocks alike, where there is such: what went is there, and adds nothing. */
  alike?(model: CheckpointModel, kept: KeptParts): Checkpoint;
  /** What a stage of the result, with its place among its stages, has to compute the same as. */
  masked(model: CheckpointModel, kept: KeptParts, stage: Stage): MaskedStage;
}
