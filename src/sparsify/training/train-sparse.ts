import type { Matrix } from "../../coupling/matrices.ts";
import type { Graph } from "../../graph/graph.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats, toFloat32 } from "../../tensor/numeric.ts";
import { type HostTensor, load, type Shape, sizeOf } from "../../tensor/tensor.ts";
import { heads } from "../../train/parameters/trainable.ts";
import type { RunSnapshot } from "../../train/train.ts";
import { type TrainGraphOptions, trainGraph } from "../../train/train-graph.ts";
import { withState } from "../../train/trainer.ts";
import { dynamicSparsity, type SparsityPoint, type SparsityProgramme } from "./dynamic-sparsity.ts";
import { type PruneScope, shuffledMasks } from "./mask-moves.ts";
import { type Begun, type Rewind, rounds } from "./rounds.ts";
import { type SoftSparsity, softSparsity } from "./soft-sparsity.ts";
import { type TrainedRanks, trainedRanks } from "./trained-ranks.ts";

/** How a network becomes sparse while it is trained from its first parameters: in one run, or in rounds. */
export type SparseTraining =
  | { readonly kind: "programme"; readonly programme: SparsityProgramme }
  | { readonly kind: "soft"; readonly masks: SoftSparsity }
  /** Nothing becomes zero, but ranks of kernels fall. */
  | { readonly kind: "ranks"; readonly ranks: TrainedRanks }
  | {
      readonly kind: "rounds";
      readonly sparsity: number;
      readonly rounds: number;
      readonly scope: PruneScope;
      /** Where a round starts again, as shares of a run; weights null: they stay. */
      readonly rewind: { readonly weights: number | null; readonly schedule: number };
      /** What the last round starts with: the ticket itself, other first parameters, or its masks shuffled inside layers. */
      readonly control?: "ticket" | "reinit" | "shuffle";
    };

export interface TrainSparseOptions extends Omit<TrainGraphOptions, "follow" | "until" | "resume"> {
  /** Matrices whose weights are masked. */
  readonly matrices: readonly Matrix[];
  readonly plan: SparseTraining;
  /** The graph with other first parameters, for the control that asks for them. */
  readonly redrawn?: () => Promise<Graph>;
  /** Rounds before the last, kept for runs that differ in nothing but their control: they are not trained again. */
  readonly shared?: SharedRounds;
}

/** Rounds but for the last, with the work that they took, by all of a plan but its control. */
export type SharedRounds = Map<string, Begun & Pick<SparselyTrained, "work" | "seconds">>;

export interface SparselyTrained {
  readonly graph: Graph;
  readonly journal: readonly SparsityPoint[];
  /** All runs together. */
  readonly work: { readonly forwardMacs: number; readonly backwardMacs: number; readonly samples: number };
  readonly seconds: number;
}

/** Trains a graph to be sparse. With masks, what they have removed stays so unless the plan lets it grow. */
export async function trainSparse(options: TrainSparseOptions): Promise<SparselyTrained> {
  const { graph, matrices, plan, seed = 0, masks } = options;
  const parameters = new Map(matrices.map(({ parameter, shape }): [string, Shape] => [parameter, shape]));
  const journal: SparsityPoint[] = [];
  const spent = { forwardMacs: 0, backwardMacs: 0, samples: 0 };
  let seconds = 0;
  const part = async (more: Partial<TrainGraphOptions>) => {
    const { plan: _, matrices: __, redrawn: ___, masks: ____, shared: _____, ...rest } = options;
    const trained = await trainGraph({ ...rest, ...more });
    spent.forwardMacs += trained.work.forwardMacs;
    spent.backwardMacs += trained.work.backwardMacs;
    spent.samples += trained.work.samples;
    seconds += trained.seconds;
    return trained;
  };
  if (plan.kind === "programme") {
    const trained = await part({
      follow: (definition, updates) => {
        const engine = dynamicSparsity(definition, parameters, plan.programme, {
          ...{ seed, updates },
          ...(masks === undefined ? {} : { masks }),
        });
        return {
          masks: engine.masks,
          afterUpdate: async (...given) => {
            await engine.afterUpdate(...given);
            journal.splice(0, journal.length, ...engine.journal);
          },
        };
      },
    });
    return { graph: trained.graph, journal, work: spent, seconds };
  }
  if (plan.kind === "ranks") {
    const trained = await part(trainedRanks(plan.ranks, graph, matrices, options));
    return { graph: trained.graph, journal, work: spent, seconds };
  }
  const updates = updatesOf(options);
  if (plan.kind === "soft") {
    const once = [...new Map(matrices.map((matrix) => [matrix.parameter, matrix])).values()];
    const own = (more: Partial<TrainGraphOptions>) => part({ ...(masks === undefined ? {} : { masks }), ...more });
    const trained = await softSparsity(plan.masks, {
      part: own,
      updates,
      matrices: once,
      heads: heads(graph, matrices),
    });
    return { graph: trained, journal, work: spent, seconds };
  }
  const at = (share: number): number => Math.round(share * updates);
  const rewind: Rewind = {
    weights: plan.rewind.weights === null ? null : at(plan.rewind.weights),
    schedule: at(plan.rewind.schedule),
  };
  const first = new Map([...parameters].map(([name, shape]) => [name, masks?.get(name) ?? full(shape)]));
  const run = async (from: RunSnapshot | null, until: number | null): Promise<RunSnapshot> => {
    const { last } = await part({
      masks: first,
      ...(from === null ? {} : { resume: from }),
      ...(until === null ? {} : { until }),
    });
    return last;
  };
  const { control = "ticket", rounds: count, ...rest } = plan;
  const key = JSON.stringify([count, rest]);
  const known = options.shared?.get(key);
  if (known !== undefined) {
    Object.assign(spent, known.work);
    seconds = known.seconds;
  }
  const last = await rounds({
    ...{ run, parameters, rewind, rounds: count, sparsity: plan.sparsity, scope: plan.scope },
    masks: new Map([...first].map(([name, mask]) => [name, Uint8Array.from(toFloat32(mask))])),
    ...(known === undefined ? {} : { begun: known }),
    afterRound: (begun) => {
      if (begun.last.round === count - 1) options.shared?.set(key, { ...begun, work: { ...spent }, seconds });
    },
    restart: async (start, round) => {
      if (round < count || control === "ticket") return start;
      if (control === "shuffle") return { ...start, masks: shuffledMasks(start.masks, seed) };
      return { ...start, from: await firstParameters((await options.redrawn?.()) ?? graph, start.from) };
    },
  });
  return { graph: withState(graph, last.end.tensors), journal, work: spent, seconds };
}

function updatesOf({ length, data, batchSize = 128 }: TrainSparseOptions): number {
  if ("updates" in length) return length.updates;
  if ("epochs" in length)
    return Math.max(1, Math.round(length.epochs * Math.max(1, Math.floor(data.count / batchSize))));
  throw new EspalierError("request", "rounds", "expected a length in updates or epochs, got another.");
}

function full(shape: Shape): HostTensor {
  return fromFloats("f32", shape, new Float32Array(sizeOf(shape)).fill(1));
}

/** A snapshot with the constants of a graph in the place of the parameters and statistics that it holds. */
async function firstParameters(graph: Graph, snapshot: RunSnapshot): Promise<RunSnapshot> {
  const tensors = new Map(snapshot.tensors);
  for (const name of tensors.keys()) {
    const ref = graph.constants.get(name);
    if (ref !== undefined) tensors.set(name, await load(ref));
  }
  return { ...snapshot, tensors };
}
