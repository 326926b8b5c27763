import type { HostTensor } from "../tensor/tensor.ts";

/** Where the means of gradients are kept, as large as the weights themselves in float32. */
export interface GradientStore {
  has(stage: string): boolean;
  /** The means by parameter; empty where none were put. */
  get(stage: string): Promise<ReadonlyMap<string, HostTensor>>;
  put(stage: string, means: ReadonlyMap<string, HostTensor>): Promise<void>;
}

/** Keeps gradients in memory. */
export function gradientsInMemory(): GradientStore {
  const held = new Map<string, ReadonlyMap<string, HostTensor>>();
  return {
    has: (stage) => held.has(stage),
    get: async (stage) => held.get(stage) ?? new Map(),
    put: async (stage, means) => {
      held.set(stage, means);
    },
  };
}
