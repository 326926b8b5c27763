import { EspalierError } from "../../tensor/error.ts";
import type { HostTensor } from "../../tensor/tensor.ts";

/** What flows from stage to stage: a tensor [windows, time, width] for each batch. Release it. */
export interface HiddenStates {
  /** Batches that were written, numbered from 0. */
  readonly batches: number;
  read(batch: number): Promise<HostTensor>;
  /** Adds the next batch, or puts what a stage made in the place of what it was made from. */
  write(batch: number, tensor: HostTensor): Promise<void>;
  release(): Promise<void>;
}

/** Hidden states in memory. */
export function hiddenInMemory(): HiddenStates {
  const held: HostTensor[] = [];
  return {
    get batches() {
      return held.length;
    },
    read: async (batch) => {
      const tensor = held[batch];
      if (tensor !== undefined) return tensor;
      throw new EspalierError("request", "hidden states", `expected a batch below ${held.length}, got ${batch}.`);
    },
    write: async (batch, tensor) => {
      held[batch] = tensor;
    },
    release: async () => {
      held.length = 0;
    },
  };
}
