import type { Dataset, IndexedDataset } from "../data/dataset.ts";
import type { Graph } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { KeptPositions } from "../surgery/kept.ts";
import type { Job } from "../tensor/progress.ts";
import type { TrainingRecord } from "../train/training-record.ts";

/** A network, and what is left of it. */
export interface Origin {
  readonly original: Analysis;
  /** Kept positions of every axis of the original; all of them when weights were zeroed and nothing was cut. */
  readonly kept: KeptPositions;
}

/** What a recovery may look at: the original, what was kept of it, and inputs. */
export interface RecoveryContext extends Origin {
  readonly runtime: Runtime;
  /** The network before the first pruning, where `original` is itself what an earlier one left. */
  readonly first?: Origin;
  /** The pruned graph; its parameters and values have the names of the original's. */
  readonly pruned: Graph;
  /** Unlabelled inputs to measure on. */
  readonly calibration: Dataset | null;
  /** Inputs to train on, with labels where the recovery needs them; the calibration inputs unless others were given. */
  readonly training?: IndexedDataset | null;
  readonly batchSize: number;
  /** True where the pruned graph may have no parameter that the original has not, since there is no place for it in its file. */
  readonly fixedParameters?: boolean;
  readonly seed?: number;
  readonly job: Job;
  /** Takes what a recovery that trains did, for the report. */
  readonly record?: (training: TrainingRecord) => void;
}

/** Repairs a pruned graph by changing parameters; zeros of a sparse result stay zeros. */
export interface Recovery {
  readonly id: string;
  /** True when it cannot work without inputs. */
  readonly needsData: boolean;
  /** What it learns is no longer what the original gave. */
  readonly trains?: boolean;
  /** It gives layers back what they gave, or had, on average in the original: of no use, and harmful, once others have learnt. */
  readonly restores?: boolean;
  /** True where it only knows language models. */
  readonly tokens?: boolean;
  /** True where it makes up for removed channels that are constant, which are else folded into biases before it. */
  readonly foldsConstants?: boolean;
  /** Throws before anything is pruned where it cannot work: no labels, operators without a gradient. */
  check?(context: Pick<RecoveryContext, "runtime" | "original" | "training" | "fixedParameters">): Promise<void>;
  apply(context: RecoveryContext): Promise<Graph>;
}
