import type { Load } from "../../models/loaders/will-load.ts";
import type { Agreement } from "../../runtime/agreement.ts";
import type { Fidelity } from "../../stats/answers/fidelity.ts";
import type { Metric } from "../../stats/answers/metric.ts";
import type { LawResult } from "../../surgery/law.ts";
import type { TrainingRecord } from "../../train/training-record.ts";

/** Size, work and measured speed of one model. */
export interface Measured {
  readonly params: number;
  readonly nonzero: number;
  /** Multiply-accumulates of one sample. */
  readonly macs: number;
  readonly bytes: number;
  readonly gzipBytes: number | null;
  readonly latencyMs: { readonly median: number; readonly p10: number; readonly p90: number } | null;
}

export type { Fidelity, Metric };

/** One parameter, group, residual branch, rank or set of numbered parts, before and after. */
export interface LayerReport {
  readonly name: string;
  readonly kind: "units" | "branches" | "weights" | "ranks" | "parts";
  readonly before: number;
  readonly after: number;
}

export interface Report {
  readonly model: string;
  readonly method: string;
  readonly command: string;
  readonly seed: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly device: { readonly name: string; readonly threads: number; readonly batch: number };
  readonly before: Measured;
  readonly after: Measured;
  readonly layers: readonly LayerReport[];
  readonly fidelity: Fidelity | null;
  readonly metric: Metric | null;
  readonly law: LawResult | null;
  /** How far the device is from a processor on a sample of inputs; null where it is one. */
  readonly agreement: Agreement | null;
  /** Units so near to the border between kept and removed that another device may decide them otherwise. */
  readonly nearTies: number;
  /** What could not be pruned, and why. */
  readonly blocked: readonly { readonly name: string; readonly reasons: readonly string[] }[];
  /** What programs that load such models make of its sizes, where it is a checkpoint or some were asked for. */
  readonly loads?: readonly Load[];
  /** What recoveries that train did, in their order. */
  readonly training: readonly TrainingRecord[];
  readonly baselines: readonly {
    readonly method: string;
    readonly after: Measured;
    readonly fidelity: Fidelity | null;
    readonly metric: number | null;
  }[];
  readonly seconds: Readonly<Record<string, number>>;
  readonly peakMemoryBytes: number | null;
  readonly advice: readonly string[];
}
