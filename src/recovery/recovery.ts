import type { Dataset } from "../data/dataset.ts";
import type { Graph } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { KeptPositions } from "../surgery/kept.ts";
import type { Job } from "../tensor/progress.ts";

/** A network, and what is left of it. */
export interface Origin {
  readonly original: Analysis;
  /** Kept positions of every axis of the original; all of them when weights were zeroed and nothing was cut. */
  readonly kept: KeptPositions;
}

/** What a recovery may look at: the original, what was kept of it, and unlabelled inputs. */
export interface RecoveryContext extends Origin {
  readonly runtime: Runtime;
  /** The network before the first pruning, where `original` is itself what an earlier one left. */
  readonly first?: Origin;
  /** The pruned graph; its parameters and values have the names of the original's. */
  readonly pruned: Graph;
  readonly calibration: Dataset | null;
  readonly batchSize: number;
  readonly job: Job;
}

/** Repairs a pruned graph by changing parameters; zeros of a sparse result stay zeros. */
export interface Recovery {
  readonly id: string;
  /** True when it cannot work without calibration inputs. */
  readonly needsData: boolean;
  apply(context: RecoveryContext): Promise<Graph>;
}
