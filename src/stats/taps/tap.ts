import type { HostTensor } from "../../tensor/tensor.ts";

/** Something measured inside the runtime: extra outputs of a graph, and sums over batches in float64. */
export interface Tap<T> {
  readonly outputs: readonly string[];
  add(values: ReadonlyMap<string, HostTensor>): void;
  result(): T;
}
