import type { Matrix } from "../coupling/matrices.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Job } from "../tensor/progress.ts";
import type { HostTensor } from "../tensor/tensor.ts";

/** What an allocator may look at. */
export interface AllocationContext {
  readonly runtime: Runtime;
  readonly analysis: Analysis;
  readonly matrices: readonly Matrix[];
  /** A parameter with a share of its weights zeroed by the plan's own criterion and pattern. */
  readonly masked: (matrix: Matrix, sparsity: number) => Promise<HostTensor>;
  readonly sparsity: number;
  readonly calibration: IndexedDataset | null;
  readonly batchSize: number;
  readonly job: Job;
}

/** Decides the sparsity of each parameter by measuring the model. */
export interface WeightAllocator {
  readonly id: string;
  readonly needsData: boolean;
  /** Sparsity by name of the parameter; together they remove the asked share. */
  readonly table: (context: AllocationContext) => Promise<ReadonlyMap<string, number>>;
}
