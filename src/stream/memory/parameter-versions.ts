import type { HostTensor } from "../../tensor/tensor.ts";

/** One version of the parameters of a checkpoint, or of numbers as large as these, stage by stage. */
export interface ParameterVersion {
  has(stage: string): boolean;
  /** Tensors by parameter; empty where none were put. */
  get(stage: string): Promise<ReadonlyMap<string, HostTensor>>;
  put(stage: string, tensors: ReadonlyMap<string, HostTensor>): Promise<void>;
}

/**
 * Versions beside the checkpoint's own, by name: means of gradients on one text and on another, variants of a matrix. Only the
 * stage that is asked for is read.
 */
export interface ParameterVersions {
  of(version: string): ParameterVersion;
}

/** Keeps versions in memory. */
export function versionsInMemory(): ParameterVersions {
  const held = new Map<string, Map<string, ReadonlyMap<string, HostTensor>>>();
  return {
    of: (version) => {
      const stages = held.get(version) ?? new Map<string, ReadonlyMap<string, HostTensor>>();
      held.set(version, stages);
      return {
        has: (stage) => stages.has(stage),
        get: async (stage) => stages.get(stage) ?? new Map(),
        put: async (stage, tensors) => {
          stages.set(stage, tensors);
        },
      };
    },
  };
}
