import type { Draft } from "../../graph/draft.ts";
import { edit } from "../../graph/edit.ts";
import type { Analysis } from "../../models/analysis.ts";
import type { Stage } from "../../models/checkpoint/checkpoint-model.ts";
import { needsData } from "../../pipeline/statistics.ts";
import { step } from "../../tensor/progress.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { sessionMemory } from "../memory/room.ts";
import { openFlow } from "../stages/flow.ts";
import { stageKinds } from "../stages/stage-kinds.ts";
import { weightsAhead } from "../stages/stage-weights.ts";
import type { PartContext } from "./part-kind.ts";

/** What is measured of a stage while windows pass it, as outputs of its graph. */
export interface StageTap<T> {
  readonly outputs: readonly string[];
  /** Takes what a run gave for `outputs`. */
  readonly add: (values: ReadonlyMap<string, HostTensor>) => void;
  result(): T;
}

/** What is known of the graph that a tap is written behind. */
export interface TapFacts {
  readonly types: Analysis["facts"]["types"];
  readonly opset: number;
}

/**
 * Runs windows through a model, stage by stage, each stage in memory alone, and measures the blocks that `wanted` names. `tap` writes
 * what is measured behind the graph of the first stage of a kind: the same for all of the kind, under the same `name`.
 */
export async function tapStages<T>(
  context: PartContext,
  name: string,
  wanted: (stage: Stage) => boolean,
  tap: (draft: Draft, first: Stage, facts: TapFacts) => StageTap<T>,
): Promise<ReadonlyMap<Stage, T>> {
  const { model, runtime, calibration, room, clock } = context;
  if (calibration === null) throw needsData(name);
  const blocks = model.stages.filter(({ role }) => role === "block");
  const used = blocks.slice(0, blocks.findLastIndex(wanted) + 1);
  const kinds = stageKinds(model, runtime, sessionMemory(room));
  const found = new Map<Stage, T>();
  try {
    const hidden = await context.hidden();
    const flow = await clock.time("embed", () => openFlow(model, kinds, calibration, { ...context, hidden }));
    try {
      const placed = used.map((stage) => kinds.place(stage));
      const next = weightsAhead(model, placed, room);
      for (const [i, each] of placed.entries()) {
        const { stage, kind } = each;
        step(context, "measure", i, placed.length, stage.name);
        const { weights, back } = await clock.time("load", () => next(i));
        await clock.time("load", () => flow.feed(each, weights));
        back();
        if (!wanted(stage)) {
          await clock.time("forward", () => flow.advance(each));
          continue;
        }
        const { facts } = await kind.analysis();
        const draft = edit(kind.graph);
        const own = tap(draft, kind.first, { types: facts.types, opset: kind.graph.opsets.get("") ?? 1 });
        const outputs = [...own.outputs, ...(i < placed.length - 1 ? [stage.output.name] : [])];
        const session = await kind.session(`${name}, ${outputs.length}`, draft.finish(), outputs);
        await clock.time("measure", () => flow.visit(each, session, { take: own.add }));
        found.set(stage, own.result());
      }
      step(context, "measure", placed.length, placed.length);
    } finally {
      await flow.release();
    }
  } finally {
    await kinds.release();
  }
  return found;
}
