import type { Model } from "../models/model.ts";
import type { Fidelity, Measured, Metric } from "../pipeline/measuring/report.ts";
import { type PruneOptions, prune } from "../pipeline/prune.ts";
import type { Amount, Contender } from "../plans/settings.ts";
import { EspalierError } from "../tensor/error.ts";
import { type Journal, noJournal } from "./journal.ts";

export interface CompareOptions extends Omit<PruneOptions, "method" | "command"> {
  readonly journal?: Journal<CompareRow>;
}

/** One method at one amount. */
export interface CompareRow {
  readonly method: string;
  readonly amount: Amount;
  readonly before: Measured | null;
  /** Null where the method could not meet the amount. */
  readonly after: Measured | null;
  readonly fidelity: Fidelity | null;
  readonly metric: Metric | null;
  /** Why this method could not meet this amount. */
  readonly failed: string | null;
}

export interface CompareReport {
  readonly model: string;
  readonly seed: number;
  readonly device: { readonly name: string; readonly threads: number; readonly batch: number };
  readonly data: string | null;
  readonly rows: readonly CompareRow[];
}

/** Methods that are in every comparison: chance, and, except of whole layers, magnitude over the whole model. */
export function baselines(granularity?: string): readonly string[] {
  return granularity === "layer" ? ["random"] : ["random", "global-l2"];
}

/** Prunes with every method to every amount on the same data and seed. What one method cannot do is a row, not an end. */
export async function compare(
  model: Model,
  contenders: readonly Contender[],
  amounts: readonly Amount[],
  options: CompareOptions,
): Promise<CompareReport> {
  const { journal = noJournal(), runtime, seed = 0 } = options;
  const jobs = amounts.flatMap((amount) => contenders.map((contender) => ({ contender, amount })));
  const rows: CompareRow[] = [];
  for (const [i, { contender, amount }] of jobs.entries()) {
    options.signal?.throwIfAborted();
    options.progress?.({
      phase: "compare",
      done: i,
      total: jobs.length,
      detail: `${contender.name} ${amountText(amount)}`,
    });
    const key = `${contender.name} ${amountText(amount)}`;
    const known = journal.get(key);
    if (known !== undefined) {
      rows.push(known);
      continue;
    }
    const row = await rowOf(model, contender, amount, options);
    await journal.add(key, row);
    rows.push(row);
  }
  options.progress?.({ phase: "compare", done: jobs.length, total: jobs.length });
  return {
    model: model.name,
    seed,
    device: { name: runtime.device, threads: runtime.threads, batch: options.latencyBatch ?? 1 },
    data: options.evaluation?.description ?? options.calibration?.description ?? null,
    rows,
  };
}

async function rowOf(model: Model, contender: Contender, amount: Amount, options: CompareOptions): Promise<CompareRow> {
  const { progress: _, ...quiet } = options;
  const { name } = contender;
  try {
    const { report } = await prune(model, contender.plan(amount), { ...quiet, method: name });
    const { before, after, fidelity, metric } = report;
    return { method: name, amount, before, after, fidelity, metric, failed: null };
  } catch (error) {
    // A signal stops the comparison; a request that this method cannot meet is a finding about the method.
    if (!(error instanceof EspalierError) || error.code !== "request" || options.signal?.aborted === true) throw error;
    const none = { before: null, after: null, fidelity: null, metric: null };
    return { method: name, amount, ...none, failed: error.message };
  }
}

/** `sparsity 0.3`, `keep-macs 0.5`, and `2:4` for a granularity that decides it. */
export function amountText({ sparsity, keepMacs, keepParams, granularity }: Amount): string {
  if (keepMacs !== undefined) return `keep-macs ${keepMacs}`;
  if (keepParams !== undefined) return `keep-params ${keepParams}`;
  return sparsity === undefined ? (granularity ?? "all") : `sparsity ${sparsity}`;
}
