import type { WeightLayer } from "../sparsify/prune-weights.ts";
import type { TensorRef } from "../tensor/tensor.ts";

/** What was done to one stage. */
export interface FinishedStage {
  readonly layers: readonly WeightLayer[];
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
  /** Its tensors that changed. */
  readonly tensors: ReadonlyMap<string, TensorRef>;
}

/** Where finished stages are kept until the whole is complete, so that a run that was stopped can go on. */
export interface Work {
  /** What was finished of a stage, in this run or an earlier one. */
  get(stage: string): FinishedStage | undefined;
  /** Keeps a finished stage for good, and gives it as it lies there. */
  add(stage: string, finished: FinishedStage): Promise<void>;
}

/** Keeps everything in memory. */
export function memoryWork(): Work {
  const stages = new Map<string, FinishedStage>();
  return {
    get: (stage) => stages.get(stage),
    add: async (stage, finished) => {
      stages.set(stage, finished);
    },
  };
}
