import type { Dataset } from "../data/dataset.ts";
import { analyse } from "../models/analysis.ts";
import type { Model } from "../models/model.ts";
import { latencies } from "../pipeline/measuring/measure.ts";
import type { Fidelity, Measured } from "../pipeline/measuring/report.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type Judgement, judge, judgePair } from "../stats/answers/metric.ts";
import { type Job, step } from "../tensor/progress.ts";

export interface EvaluateOptions extends Job {
  readonly runtime: Runtime;
  readonly data: Dataset;
  /** The model before pruning, for fidelity and interleaved latency. */
  readonly reference?: Model | null;
  readonly shapes?: ReadonlyMap<string, readonly number[]>;
  readonly batchSize?: number;
  readonly latencyBatch?: number;
}

/** What a model gives on data. */
export interface EvaluationReport {
  readonly model: string;
  readonly reference: string | null;
  readonly data: string;
  readonly device: { readonly name: string; readonly threads: number; readonly batch: number };
  readonly params: number;
  readonly macs: number;
  /** Null where the data has no labels. */
  readonly metric: Judgement | null;
  /** The same of the reference. */
  readonly referenceMetric: number | null;
  readonly latencyMs: Measured["latencyMs"];
  readonly referenceLatencyMs: Measured["latencyMs"];
  readonly fidelity: Fidelity | null;
}

/** Accuracy or perplexity where the data has labels, fidelity where there is a reference, and latency of both in turn. */
export async function evaluate(model: Model, options: EvaluateOptions): Promise<EvaluationReport> {
  const { runtime, data, reference = null, latencyBatch = 1 } = options;
  const walk = { ...options, batchSize: options.batchSize ?? 64 };
  step(options, "analyse", 0, 1);
  const graph = model.onnx.graph;
  const analysis = await analyse(graph, runtime, { shapes: options.shapes });
  const { params, macs } = analysis.cost.total();
  let metric: EvaluationReport["metric"] = null;
  let referenceMetric: number | null = null;
  let fidelity: Fidelity | null = null;
  if (reference !== null) {
    const found = await judgePair(runtime, reference.onnx.graph, graph, data, walk);
    fidelity = found.fidelity;
    if (found.metric !== null) {
      const { name, before, after, n } = found.metric;
      metric = { name, value: after, n };
      referenceMetric = before;
    }
  } else metric = await judge(runtime, graph, data, walk);
  step(options, "measure", 0, 1);
  const graphs = reference === null ? [graph] : [graph, reference.onnx.graph];
  const [own = null, other = null] = await latencies(graphs, analysis, runtime, latencyBatch);
  step(options, "measure", 1, 1);
  return {
    model: model.name,
    reference: reference?.name ?? null,
    data: data.description,
    device: { name: runtime.device, threads: runtime.threads, batch: latencyBatch },
    params,
    macs,
    metric,
    referenceMetric,
    latencyMs: own,
    referenceLatencyMs: other,
    fidelity,
  };
}
