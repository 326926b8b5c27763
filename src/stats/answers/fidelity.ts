import type { Batch, Dataset } from "../../data/dataset.ts";
import type { Feeds, Graph } from "../../graph/graph.ts";
import type { Runtime, Session } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";
import { type Job, step } from "../../tensor/progress.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { Agreement, type Fidelity, hits, isNumeric } from "./agreement.ts";

export type { Fidelity };

/** Share of samples whose largest output is their label. */
export interface Accuracy {
  readonly value: number;
  readonly n: number;
}

/** What one walk over the data says of the original and the pruned model. */
export interface Evaluation {
  /** Null where no output is numbers. */
  readonly fidelity: Fidelity | null;
  /** Null where the data has no labels or the first output is no classes. */
  readonly accuracy: { readonly before: number; readonly after: number; readonly n: number } | null;
}

export interface EvaluationOptions extends Job {
  readonly batchSize: number;
}

/**
 * Runs both models on all samples, one batch in memory at a time. Outputs are matched by name. Throws `shape` where an
 * output of the pruned model has another size, `runtime` where it is not finite though the original's is, and `data` for
 * labels beyond the classes.
 */
export async function evaluatePair(
  runtime: Runtime,
  original: Graph,
  pruned: Graph,
  data: Dataset,
  options: EvaluationOptions,
): Promise<Evaluation> {
  const names = original.outputs.map(({ name }) => name);
  const agreement = new Agreement();
  let before = 0;
  let after = 0;
  let labelled = data.labelled;
  const done = await walkOver(runtime, [original, pruned], data, options, ([expected, got], batch, start) => {
    const first = expected?.get(names[0] ?? "");
    for (const [index, name] of names.entries()) {
      const value = expected?.get(name);
      if (value === undefined || !isNumeric(value)) continue;
      agreement.add(name, value, got?.get(name), index === 0 ? batch.count : null, start);
    }
    const one = labelled && first !== undefined ? hits(first, batch, start) : null;
    const two = got?.get(names[0] ?? "");
    if (one === null || two === undefined) labelled = false;
    else {
      before += one;
      after += hits(two, batch, start) ?? 0;
    }
  });
  return {
    fidelity: agreement.result(done),
    accuracy: labelled && done > 0 ? { before: before / done, after: after / done, n: done } : null,
  };
}

/** How near the pruned model's outputs are to the original's. Throws like `evaluatePair`, `request` without numbers. */
export async function fidelity(
  runtime: Runtime,
  original: Graph,
  pruned: Graph,
  data: Dataset,
  options: EvaluationOptions,
): Promise<Fidelity> {
  const { fidelity: found } = await evaluatePair(runtime, original, pruned, data, options);
  if (found !== null) return found;
  throw new EspalierError("request", "fidelity", "expected a model with outputs that are numbers, got none.");
}

/** Top-1 accuracy of the first output. Throws `data` without labels, `request` where the output is no classes. */
export async function accuracy(
  runtime: Runtime,
  graph: Graph,
  data: Dataset,
  options: EvaluationOptions,
): Promise<Accuracy> {
  if (!data.labelled) {
    throw new EspalierError("data", data.description, "expected labels, got none.", "Accuracy needs labelled inputs.");
  }
  const name = graph.outputs[0]?.name ?? "";
  let correct = 0;
  const n = await walkOver(runtime, [graph], data, options, ([values], batch, start) => {
    const output = values?.get(name);
    const found = output === undefined ? null : hits(output, batch, start);
    if (found !== null) {
      correct += found;
      return;
    }
    const message = `expected [samples, classes], got [${output?.shape.join(", ") ?? "nothing"}].`;
    throw new EspalierError("request", `output ${name}`, message, "Accuracy needs a model that classifies.");
  });
  return { value: correct / n, n };
}

/** Runs several models on each batch; gives the number of samples. */
async function walkOver(
  runtime: Runtime,
  graphs: readonly Graph[],
  data: Dataset,
  options: EvaluationOptions,
  take: (values: readonly ReadonlyMap<string, HostTensor>[], batch: Batch, start: number) => void,
): Promise<number> {
  const sessions: Session[] = [];
  let done = 0;
  try {
    for (const graph of graphs) sessions.push(await runtime.compile(graph));
    for await (const batch of data.batches(options.batchSize)) {
      step(options, "evaluate", done, data.count);
      const values: ReadonlyMap<string, HostTensor>[] = [];
      for (const [i, session] of sessions.entries()) values.push(await session.run(feedsOf(graphs[i], batch)));
      take(values, batch, done);
      done += batch.count;
    }
    step(options, "evaluate", done, data.count);
  } finally {
    for (const session of sessions) await session.release();
  }
  return done;
}

function feedsOf(graph: Graph | undefined, batch: Batch): Feeds {
  const names = new Set(graph?.inputs.map(({ name }) => name));
  return new Map([...batch.inputs].filter(([name]) => names.has(name)));
}
