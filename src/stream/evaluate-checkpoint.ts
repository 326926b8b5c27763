import type { Dataset } from "../data/dataset.ts";
import type { Checkpoint } from "../formats/checkpoint/open.ts";
import { edit } from "../graph/edit.ts";
import type { Feeds } from "../graph/graph.ts";
import { type CheckpointModel, checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { type Likelihood, likelihoodFeeds, runSize, writeLikelihood } from "../stats/answers/likelihood.ts";
import type { Metric } from "../stats/answers/metric.ts";
import { EspalierError } from "../tensor/error.ts";
import { toFloat64 } from "../tensor/numeric.ts";
import { step } from "../tensor/progress.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import type { HiddenStates } from "./memory/hidden-states.ts";
import { openRoom, sessionMemory } from "./memory/room.ts";
import { type FlowOptions, openFlow } from "./stages/flow.ts";
import { stageKinds } from "./stages/stage-kinds.ts";
import { weightsAhead } from "./stages/stage-weights.ts";

/**
 * How likely a checkpoint finds the next tokens of windows, stage by stage: one stage is in memory, and the hidden states.
 * Throws `data` where the windows have no labels.
 */
export async function checkpointLikelihood(
  model: CheckpointModel,
  data: Dataset,
  options: FlowOptions,
): Promise<Likelihood> {
  const last = model.stages.at(-1);
  if (last?.role !== "head" || model.kind !== "decoder") {
    throw new EspalierError("request", model.name, "expected a model that tells the next token, got another.");
  }
  const batchSize = runSize({ ...last.graph(), outputs: [last.output] }, data, options.batchSize);
  const room = options.room ?? openRoom();
  const kinds = stageKinds(model, options.runtime, sessionMemory(room));
  try {
    const flow = await openFlow(model, kinds, data, { ...options, batchSize });
    try {
      const placed = model.stages.slice(1).map((stage) => kinds.place(stage));
      const next = weightsAhead(model, placed, room);
      const sums = { nll: 0, hits: 0, count: 0 };
      for (const [i, stage] of placed.entries()) {
        step(options, "evaluate", i, placed.length, stage.stage.name);
        const { weights, back } = await next(i);
        await flow.feed(stage, weights);
        back();
        if (stage.stage !== last) {
          await flow.advance(stage);
          continue;
        }
        const { kind } = stage;
        const draft = edit(kind.graph);
        const opset = kind.graph.opsets.get("") ?? 1;
        const ends = writeLikelihood(draft, opset, last.output.name, data.labelShape?.length ?? 0);
        const session = await kind.session("likelihood", draft.finish(), [ends.logLikelihood, ends.hits]);
        const labels: Feeds[] = [];
        for await (const batch of data.batches(batchSize)) {
          const { feeds, count } = likelihoodFeeds(kind.graph, ends, batch);
          labels.push(feeds);
          for (const n of count) sums.count += n;
        }
        await flow.visit(stage, session, {
          feeds: (batch) => labels[batch] ?? new Map(),
          take: (values) => {
            sums.nll -= total(values.get(ends.logLikelihood));
            sums.hits += total(values.get(ends.hits));
          },
        });
      }
      step(options, "evaluate", placed.length, placed.length);
      if (sums.count > 0) return sums;
      throw new EspalierError("data", data.description, "expected labels that count, got none.");
    } finally {
      await flow.release();
    }
  } finally {
    await kinds.release();
  }
}

/** Perplexity of the original and the pruned checkpoint on the same windows. */
export async function perplexities(
  model: CheckpointModel,
  pruned: Checkpoint,
  data: Dataset,
  options: Omit<FlowOptions, "hidden"> & { readonly hidden: () => HiddenStates | Promise<HiddenStates> },
): Promise<Metric> {
  const of = async (one: CheckpointModel) =>
    checkpointLikelihood(one, data, { ...options, hidden: await options.hidden() });
  const before = await of(model);
  const after = await of(checkpointModel(pruned));
  const { count } = before;
  return { name: "perplexity", before: Math.exp(before.nll / count), after: Math.exp(after.nll / count), n: count };
}

function total(values: HostTensor | undefined): number {
  return values === undefined ? Number.NaN : toFloat64(values).reduce((sum, value) => sum + value, 0);
}
