import type { Matrix } from "../coupling/matrices.ts";
import type { Dataset } from "../data/dataset.ts";
import { edit } from "../graph/edit.ts";
import type { CheckpointModel } from "../models/checkpoint/checkpoint-model.ts";
import type { Runtime, State } from "../runtime/runtime.ts";
import { sameInputs } from "../stats/same-inputs.ts";
import { type Measurement, type Need, tapMatrices } from "../stats/tap-matrices.ts";
import { EspalierError } from "../tensor/error.ts";
import type { Job } from "../tensor/progress.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import type { HiddenStates } from "./hidden-states.ts";
import type { PlacedStage, StageKinds, StageSession } from "./stage-kinds.ts";
import type { StageMatrix } from "./stage-matrices.ts";
import { feedWeights, loadWeights, type StageWeights } from "./stage-weights.ts";
import { tokenBatches } from "./windows.ts";

/** All windows of a data set on their way through a model, stage by stage. Release it. */
export interface Flow {
  /** Puts parameters of a stage beside the runtime; others of the same stage stay as they are. */
  feed(placed: PlacedStage, weights: StageWeights): Promise<void>;
  /** Runs the stage that was fed; what it makes takes the place of what went in. */
  advance(placed: PlacedStage): Promise<void>;
  /**
   * Runs the stage that was fed and measures the inputs of matrices. With `advance` it advances in the same run. What cannot be
   * measured is absent.
   */
  measure(
    placed: PlacedStage,
    wanted: readonly StageMatrix[],
    needs: readonly Need[],
    advance: boolean,
  ): Promise<ReadonlyMap<Matrix, Measurement>>;
  release(): Promise<void>;
}

export interface FlowOptions extends Job {
  readonly runtime: Runtime;
  /** Windows that run at once. */
  readonly batchSize: number;
  readonly hidden: HiddenStates;
  /** Called after each batch of each run, with the stage that it went through. */
  readonly ran?: (stage: string) => void;
}

/** Takes windows of tokens through the embedding of a model. */
export async function openFlow(
  model: CheckpointModel,
  kinds: StageKinds,
  data: Dataset,
  { runtime, batchSize, hidden, signal, ran }: FlowOptions,
): Promise<Flow> {
  const state: State = await runtime.state();
  const run = async (
    { stage }: PlacedStage,
    { session, reads }: StageSession,
    batch: number,
    tensor: HostTensor,
  ): Promise<ReadonlyMap<string, HostTensor>> => {
    signal?.throwIfAborted();
    const { input, output } = stage;
    const values = await session.run(new Map([[input.name, tensor]]), undefined, { state, reads, writes: new Map() });
    const made = values.get(output.name);
    if (made !== undefined) await hidden.write(batch, made);
    ran?.(stage.name);
    return values;
  };
  const forward = ({ kind, stage }: PlacedStage) => kind.session("forward", kind.graph, [stage.output.name]);
  const flow: Flow = {
    feed: (placed, weights) => feedWeights(state, placed, weights),
    advance: async (placed) => {
      const session = await forward(placed);
      for (let batch = 0; batch < hidden.batches; batch++) await run(placed, session, batch, await hidden.read(batch));
    },
    measure: async (placed, wanted, needs, advance) => {
      const { kind, stage } = placed;
      const { facts } = await kind.analysis();
      const draft = edit(kind.graph);
      const groups = sameInputs(wanted.map(({ first }) => first));
      const firsts = groups.map(({ first }) => first);
      const taps = tapMatrices(draft, kind.graph.opsets.get("") ?? 1, facts.types, firsts, needs);
      const outputs = advance ? [...taps.outputs, stage.output.name] : taps.outputs;
      if (outputs.length === 0) return new Map();
      const name = `${needs} of ${firsts.map(({ parameter }) => parameter)}${advance ? ", forward" : ""}`;
      const session = await kind.session(name, draft.finish(), outputs);
      for (let batch = 0; batch < hidden.batches; batch++) {
        taps.add(await run(placed, session, batch, await hidden.read(batch)));
      }
      const measured = taps.result();
      const found = new Map<Matrix, Measurement>();
      for (const { matrix, first } of wanted) {
        const own = measured.get(groups.find(({ all }) => all.includes(first))?.first ?? first);
        if (own === undefined) continue;
        found.set(matrix, own);
      }
      return found;
    },
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
      await run(placed, session, hidden.batches, tokens);
    }
    return flow;
  } catch (cause) {
    await flow.release();
    throw cause;
  }
}
