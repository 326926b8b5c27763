import type { Dataset } from "../../data/dataset.ts";
import type { Feeds } from "../../graph/graph.ts";
import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import type { Runtime, State } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { Job } from "../../tensor/progress.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type { GiveBack } from "../memory/account.ts";
import type { HiddenStates } from "../memory/hidden-states.ts";
import { openRoom, type Room } from "../memory/room.ts";
import type { PlacedStage, StageKind, StageKinds, StageSession } from "./stage-kinds.ts";
import { feedWeights, loadCounted, type StageWeights } from "./stage-weights.ts";
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
  /** As much as it takes unless told. */
  readonly room?: Room | undefined;
}

/** The parameters of a stage beside the runtime, in place of those of the stage before. */
interface Fed {
  readonly kind: StageKind;
  readonly state: State;
  /** What each of them takes. */
  readonly holds: Map<string, GiveBack>;
}

/** Takes windows of tokens through the embedding of a model. */
export async function openFlow(
  model: CheckpointModel,
  kinds: StageKinds,
  data: Dataset,
  { runtime, batchSize, hidden: first, signal, room = openRoom() }: FlowOptions,
): Promise<Flow> {
  const { account } = room;
  const work = account.take("what stages work with", room.forward);
  let fed: Fed | null = null;
  let hidden = first;
  const drop = async (): Promise<void> => {
    for (const back of fed?.holds.values() ?? []) back();
    await fed?.state.release();
    fed = null;
  };
  /** The state of a kind; that of another one goes before. */
  const fedOf = async (kind: StageKind): Promise<Fed> => {
    if (fed?.kind === kind) return fed;
    await drop();
    fed = { kind, state: await runtime.state(), holds: new Map() };
    return fed;
  };
  const run = async (
    { stage, kind }: PlacedStage,
    { session, reads }: StageSession,
    { feeds = () => new Map(), take, into = hidden }: Visitor,
    batch: number,
    tensor: HostTensor,
  ): Promise<void> => {
    signal?.throwIfAborted();
    const { input, output } = stage;
    const inputs = new Map([...feeds(batch), [input.name, tensor] as const]);
    const { state } = await fedOf(kind);
    const values = await session.run(inputs, undefined, { state, reads, writes: new Map() });
    const made = values.get(output.name);
    if (made !== undefined) await into.write(batch, made);
    take?.(values, batch);
  };
  const forward = ({ kind, stage }: PlacedStage) => kind.session("forward", kind.graph, [stage.output.name]);
  const flow: Flow = {
    feed: async (placed, weights) => {
      const { state, holds } = await fedOf(placed.kind);
      for (const [i, name] of placed.kind.tensors.entries()) {
        const tensor = weights.get(placed.tensors[i] ?? "");
        if (tensor === undefined) continue;
        holds.get(name)?.();
        holds.set(name, account.take("weights beside the runtime", tensor.bytes.byteLength));
      }
      await feedWeights(state, placed, weights);
    },
    visit: async (placed, session, visitor = {}) => {
      for (let batch = 0; batch < hidden.batches; batch++) {
        await run(placed, session, visitor, batch, await hidden.read(batch));
      }
      hidden = visitor.into ?? hidden;
    },
    advance: async (placed, into) => flow.visit(placed, await forward(placed), into === undefined ? {} : { into }),
    release: async () => {
      await drop();
      work();
      await hidden.release();
    },
  };
  try {
    const [stage] = model.stages;
    if (stage?.role !== "embedding") {
      throw new EspalierError("model", model.name, "expected a model that begins with an embedding.");
    }
    const placed = kinds.place(stage);
    const { weights, back } = await loadCounted(account, model, placed);
    await flow.feed(placed, weights);
    back();
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
