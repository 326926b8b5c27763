import type { Dataset } from "../data/dataset.ts";
import type { Feeds } from "../graph/graph.ts";
import type { CheckpointModel } from "../models/checkpoint/checkpoint-model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { EspalierError } from "../tensor/error.ts";
import type { Job } from "../tensor/progress.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import type { HiddenStates } from "./hidden-states.ts";
import type { PlacedStage, StageKinds, StageSession } from "./stage-kinds.ts";
import { feedWeights, loadWeights, type StageWeights } from "./stage-weights.ts";
import { tokenBatches } from "./windows.ts";

/** What a visit does with each batch, besides running it. */
export interface Visitor {
  /** What the session takes besides what the stage takes. */
  readonly feeds?: (batch: number) => Feeds;
  readonly take?: (values: ReadonlyMap<string, HostTensor>, batch: number) => void;
  /** Where what the stage makes goes; what went in then stays where it is. From there the flow goes on. */
  readonly into?: HiddenStates;
}

/** All windows of a data set on their way through a model, stage by stage. Release it. */
export interface Flow {
  /** Puts parameters of a stage beside the runtime; others of the same stage stay as they are. */
  feed(placed: PlacedStage, weights: StageWeights): Promise<void>;
  /**
   * Runs every batch through a session of the stage that was fed. Where the session gives what the stage makes, that takes the
   * place of what went in.
   */
  visit(placed: PlacedStage, session: StageSession, visitor?: Visitor): Promise<void>;
  /** Runs the stage that was fed; what it makes takes the place of what went in, or goes elsewhere. */
  advance(placed: PlacedStage, into?: HiddenStates): Promise<void>;
  release(): Promise<void>;
}

export interface FlowOptions extends Job {
  readonly runtime: Runtime;
  /** Windows that run at once. */
  readonly batchSize: number;
  readonly hidden: HiddenStates;
}

/** Takes windows of tokens through the embedding of a model. */
export async function openFlow(
  model: CheckpointModel,
  kinds: StageKinds,
  data: Dataset,
  { runtime, batchSize, hidden: first, signal }: FlowOptions,
): Promise<Flow> {
  const state = await runtime.state();
  let hidden = first;
  const run = async (
    { stage }: PlacedStage,
    { session, reads }: StageSession,
    { feeds = () => new Map(), take, into = hidden }: Visitor,
    batch: number,
    tensor: HostTensor,
  ): Promise<void> => {
    signal?.throwIfAborted();
    const { input, output } = stage;
    const fed = new Map([...feeds(batch), [input.name, tensor] as const]);
    const values = await session.run(fed, undefined, { state, reads, writes: new Map() });
    const made = values.get(output.name);
    if (made !== undefined) await into.write(batch, made);
    take?.(values, batch);
  };
  const forward = ({ kind, stage }: PlacedStage) => kind.session("forward", kind.graph, [stage.output.name]);
  const flow: Flow = {
    feed: (placed, weights) => feedWeights(state, placed, weights),
    visit: async (placed, session, visitor = {}) => {
      for (let batch = 0; batch < hidden.batches; batch++) {
        await run(placed, session, visitor, batch, await hidden.read(batch));
      }
      hidden = visitor.into ?? hidden;
    },
    advance: async (placed, into) => flow.visit(placed, await forward(placed), into === undefined ? {} : { into }),
    release: async () => {
      await state.release();
      await hidden.release();
    },
  };
  try {
    const [stage] = model.stages;
    if (stage?.role !== "embedding") {
      throw new EspalierError("model", model.name, "expected a model that begins with an embedding.");
    }
    const placed = kinds.place(stage);
    await flow.feed(placed, await loadWeights(model, placed));
    const session = await forward(placed);
    for await (const { tokens } of tokenBatches(model, data, batchSize)) {
      await run(placed, session, {}, hidden.batches, tokens);
    }
    return flow;
  } catch (cause) {
    await flow.release();
    throw cause;
  }
}
