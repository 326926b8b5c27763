import type { CheckpointModel } from "../models/checkpoint/checkpoint-model.ts";
import type { Load } from "../models/loaders/will-load.ts";
import type { Report } from "../pipeline/measuring/report.ts";
import type { WeightLayer } from "../sparsify/prune-weights.ts";
import type { Metric } from "../stats/answers/metric.ts";
import type { LawResult } from "../surgery/law.ts";
import { bytesOf, sizeOf } from "../tensor/tensor.ts";
import type { FinishedStage } from "./work.ts";

/** A matrix that got zeros, and the stage that it lies in. */
export interface StagedLayer extends WeightLayer {
  readonly stage: string;
}

/** What became of parts that are numbered together, such as the blocks of a model. */
export interface PartsLeft {
  /** What they are parts of. */
  readonly name: string;
  /** Such as "blocks". */
  readonly what: string;
  readonly before: number;
  readonly after: number;
  /** Numbers of those that went. */
  readonly gone: readonly number[];
  /** What each was worth; larger means kept. */
  readonly scores: readonly number[];
}

/** What was done to a checkpoint, as measured. */
export interface CheckpointReport {
  readonly model: string;
  /** `model_type` of its config. */
  readonly type: string;
  readonly plan: Readonly<Record<string, unknown>>;
  /** Whether stages were measured behind pruned or dense ones; null where nothing was measured. */
  readonly inputs: "pruned" | "dense" | null;
  readonly calibration: string | null;
  readonly seed: number;
  readonly device: { readonly name: string; readonly threads: number; readonly batch: number };
  /** Parameters and bytes of the original. */
  readonly before: { readonly params: number; readonly bytes: number };
  readonly params: number;
  /** Numbered parts that went for good; empty where only weights became zero. */
  readonly parts: readonly PartsLeft[];
  /** How far stages are from those of the original with these parts masked; null where none went. */
  readonly law: LawResult | null;
  /** Weights of the matrices that were pruned, and how many of them are not zero now. */
  readonly pruned: { readonly before: number; readonly after: number };
  /** Parameters less the weights that are zero now in pruned matrices. */
  readonly nonzero: number;
  /** Bytes of all tensors; zeros are stored too. */
  readonly bytes: number;
  /** Perplexity of both on the same text, where one was given. */
  readonly metric: Metric | null;
  /** What programs that load such checkpoints make of its sizes. */
  readonly loads: readonly Load[];
  readonly layers: readonly StagedLayer[];
  readonly skipped: FinishedStage["skipped"];
  /** Plain sentences on what the numbers mean. */
  readonly advice: readonly string[];
  /** Stages that an earlier run had finished. */
  readonly resumed: number;
  /** Seconds of each phase of this run. */
  readonly seconds: Readonly<Record<string, number>>;
  /** What the run was allowed to take, and the most that it counted; null where it was not told. */
  readonly memory: { readonly limit: number; readonly counted: number } | null;
  /** Largest resident memory of the process, mapped files included; null where the platform does not tell. */
  readonly peakBytes: number | null;
}

/** What became of a checkpoint: fewer units, or what goes stage by stage: weights that are zero, and fewer numbered parts. */
export type CheckpointRun =
  | { readonly kind: "units"; readonly report: Report }
  | { readonly kind: "stages"; readonly report: CheckpointReport };

/** Parameters and bytes of a checkpoint. */
export function sizesOf({ checkpoint }: Pick<CheckpointModel, "checkpoint">): {
  readonly params: number;
  readonly bytes: number;
} {
  const refs = [...checkpoint.tensors.values()];
  return {
    params: refs.reduce((sum, { shape }) => sum + sizeOf(shape), 0),
    bytes: refs.reduce((sum, ref) => sum + bytesOf(ref), 0),
  };
}
