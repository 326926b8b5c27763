import type { Matrix } from "../coupling/matrices.ts";
import type { MatrixStatistics } from "../criteria/criterion.ts";
import type { Dataset } from "../data/dataset.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import type { CheckpointModel } from "../models/checkpoint/checkpoint-model.ts";
import type { PhaseClock } from "../pipeline/measuring/phase-clock.ts";
import { asMatrix, readerOf } from "../pipeline/statistics.ts";
import { type ZeroOptions, zeroWeights } from "../pipeline/zero-weights.ts";
import type { WeightPlan } from "../plans/plan.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { SparseGraph } from "../sparsify/prune-weights.ts";
import { sameInputs } from "../stats/taps/same-inputs.ts";
import type { Need } from "../stats/taps/tap-matrices.ts";
import { toFloat32 } from "../tensor/numeric.ts";
import { type Job, step } from "../tensor/progress.ts";
import { type HostTensor, load, refOf, sizeOf, type TensorRef } from "../tensor/tensor.ts";
import type { HiddenStates } from "./memory/hidden-states.ts";
import type { ParameterVersions } from "./memory/parameter-versions.ts";
import { openRoom, type Room } from "./memory/room.ts";
import { ahead } from "./stages/ahead.ts";
import type { Flow } from "./stages/flow.ts";
import { measureStage } from "./stages/measure-stage.ts";
import type { PlacedStage } from "./stages/stage-kinds.ts";
import type { StageMatrix } from "./stages/stage-matrices.ts";
import { type CountedWeights, loadCounted, noWeights, type StageWeights } from "./stages/stage-weights.ts";
import type { StreamedGradient } from "./streamed-plan.ts";
import type { FinishedStage, Work } from "./work.ts";

export interface CheckpointPruneOptions extends Job {
  readonly runtime: Runtime;
  /** Windows of tokens; criteria that look at weights alone need none. */
  readonly calibration: Dataset | null;
  /** Windows that run at once. */
  readonly batchSize: number;
  /**
   * What a stage is measured on: what the pruned stages before it make (default, as Wanda and SparseGPT have it), or what the
   * dense ones do. Inside a stage all matrices are measured while it is dense.
   */
  readonly inputs?: "pruned" | "dense" | undefined;
  /** Parameters that are left alone. */
  readonly ignore?: readonly string[] | undefined;
  /** Where hidden states are held; in memory unless told. */
  readonly hidden?: () => HiddenStates | Promise<HiddenStates>;
  /** Windows that stand for all that the model should not forget, for criteria that compare them with the calibration windows. */
  readonly general?: Dataset | null;
  /** Where gradients are kept, for criteria that read them; in memory unless told. */
  readonly versions?: ParameterVersions;
  readonly work: Work;
  readonly clock: PhaseClock;
  /** The memory that the run has; as much as it takes unless told. */
  readonly room?: Room | undefined;
}

/** A stage and what of it is to be pruned. */
export interface Target {
  readonly placed: PlacedStage;
  readonly matrices: readonly StageMatrix[];
}

/** What all parts of a run share. */
export interface Run {
  readonly model: CheckpointModel;
  readonly plan: WeightPlan;
  readonly needs: readonly Need[];
  /** Which gradients are read, and where they were put: a version for each. */
  readonly gradients: readonly StreamedGradient[];
  readonly versions: ParameterVersions;
  readonly targets: readonly Target[];
  /** Null where nothing is measured. */
  readonly flow: Flow | null;
  readonly options: CheckpointPruneOptions;
  readonly zero: ZeroOptions;
}

/** Each stage is measured, pruned and finished before the next. */
export async function inTurn(run: Run): Promise<void> {
  const { model, plan, needs, gradients, versions, targets, flow, options, zero } = run;
  const { work, clock, inputs = "pruned", room = openRoom() } = options;
  const { account } = room;
  const todo = targets.findLastIndex(({ placed }) => work.get(placed.stage.name) === undefined) + 1;
  const dense = inputs === "dense";
  const read = async (i: number): Promise<CountedWeights> => {
    const placed = targets[i]?.placed;
    const finished = work.get(placed?.stage.name ?? "");
    if (placed === undefined || (finished !== undefined && flow === null)) return noWeights;
    return loadCounted(account, model, placed, dense ? undefined : finished?.tensors);
  };
  const next = ahead(todo, read, room.ahead);
  for (const [i, { placed, matrices }] of targets.slice(0, todo).entries()) {
    const { name } = placed.stage;
    step(options, "prune", i, targets.length, name);
    const { weights, back } = await clock.time("load", () => next(i));
    await clock.time("load", async () => flow?.feed(placed, weights));
    const passOn = i < todo - 1;
    if (work.get(name) !== undefined) {
      back();
      if (passOn) await clock.time("forward", async () => flow?.advance(placed));
      continue;
    }
    const statistics = account.take(`statistics of ${name}`, statisticsBytes(matrices, needs, gradients.length));
    const measured = await clock.time("measure", async () =>
      flow === null ? undefined : measureStage(flow, placed, matrices, needs, { advance: dense && passOn }),
    );
    const own = matrices.map(({ matrix }) => matrix);
    const known = new Map<Matrix, Partial<MatrixStatistics>>(measured ?? []);
    for (const { statistic } of gradients) {
      const means = await versions.of(statistic).get(name);
      for (const matrix of own) {
        const mean = means.get(matrix.parameter);
        if (mean === undefined) continue;
        known.set(matrix, { ...known.get(matrix), [statistic]: asMatrix(matrix, toFloat32(mean)) });
      }
    }
    const pruned = account.take(`pruned weights of ${name}`, storedBytes(weights, own));
    const refs = new Map([...weights].map(([parameter, tensor]) => [parameter, refOf(tensor)]));
    const sparse = await zeroWeights(graphOf(refs), own, plan, readerOf({ matrices: known, vectors: new Map() }), {
      ...zero,
      residentBytes: Number.POSITIVE_INFINITY,
    });
    const finished = finishedOf(sparse, own);
    statistics();
    back();
    if (passOn && !dense) {
      const changed = new Map<string, HostTensor>();
      for (const [parameter, ref] of finished.tensors) changed.set(parameter, await load(ref));
      await clock.time("load", async () => flow?.feed(placed, changed));
    }
    await clock.time("store", () => work.add(name, finished));
    pruned();
    if (passOn && !dense) await clock.time("forward", async () => flow?.advance(placed));
  }
  step(options, "prune", targets.length, targets.length);
}

/** All stages are measured before the first is pruned, since the weights of all compete. */
export async function allAtOnce({ model, plan, needs, targets, flow, options, zero }: Run): Promise<void> {
  const { work, clock, room = openRoom() } = options;
  const { account } = room;
  const measured = new Map<Matrix, Partial<MatrixStatistics>>();
  const read = async (i: number): Promise<CountedWeights> => {
    const placed = targets[i]?.placed;
    return placed === undefined ? noWeights : loadCounted(account, model, placed);
  };
  const next = ahead(targets.length, read, room.ahead);
  for (const [i, { placed, matrices }] of (flow === null ? [] : targets).entries()) {
    step(options, "measure", i, targets.length, placed.stage.name);
    const { weights, back } = await clock.time("load", () => next(i));
    await clock.time("load", async () => flow?.feed(placed, weights));
    back();
    account.take(`statistics of ${placed.stage.name}`, statisticsBytes(matrices, needs, 0));
    const found = await clock.time("measure", async () =>
      flow === null ? undefined : measureStage(flow, placed, matrices, needs, { advance: i < targets.length - 1 }),
    );
    for (const [matrix, statistics] of found ?? []) measured.set(matrix, statistics);
  }
  const all = targets.flatMap(({ matrices }) => matrices.map(({ matrix }) => matrix));
  const graph = graphOf(model.checkpoint.tensors);
  // Masked tensors are made when they are stored, one stage after the other.
  const sparse = await zeroWeights(graph, all, plan, readerOf({ matrices: measured, vectors: new Map() }), {
    ...zero,
    residentBytes: 0,
  });
  for (const [i, { placed, matrices }] of targets.entries()) {
    const { name } = placed.stage;
    step(options, "prune", i, targets.length, name);
    if (work.get(name) !== undefined) continue;
    const own = matrices.map(({ matrix }) => matrix);
    await clock.time("store", () => work.add(name, finishedOf(sparse, own)));
  }
  step(options, "prune", targets.length, targets.length);
}

/** Bytes of the sums that matrices are measured by; of gradients, as they are read and as they are scored. */
function statisticsBytes(matrices: readonly StageMatrix[], needs: readonly Need[], slopes: number): number {
  const squares = sameInputs(matrices.map(({ first }) => first)).map(({ first }) => first);
  const gram = needs.includes("gram")
    ? squares.reduce((sum, { groups, columns }) => sum + 8 * groups * columns ** 2, 0)
    : 0;
  const vectors = squares.reduce((sum, { groups, columns }) => sum + 16 * groups * columns, 0);
  const weights = matrices.reduce((sum, { matrix }) => sum + sizeOf(matrix.shape), 0);
  return gram + vectors + slopes * 2 * 4 * weights;
}

/** Stored bytes of what matrices lie in. */
function storedBytes(weights: StageWeights, matrices: readonly Matrix[]): number {
  return matrices.reduce((sum, { parameter }) => sum + (weights.get(parameter)?.bytes.byteLength ?? 0), 0);
}

/** A graph of nothing but parameters, which is all that masks look at. */
function graphOf(constants: ReadonlyMap<string, TensorRef>): Graph {
  return { ...bare, constants };
}

const bare = builder("parameters", 23).finish();

/** What became of the matrices of one stage. */
function finishedOf({ graph, layers, skipped }: SparseGraph, matrices: readonly Matrix[]): FinishedStage {
  const own = new Set(matrices.map(({ parameter }) => parameter));
  const changed = layers.filter(({ name }) => own.has(name));
  const tensors = new Map<string, TensorRef>();
  for (const { name } of changed) {
    const ref = graph.constants.get(name);
    if (ref !== undefined) tensors.set(name, ref);
  }
  return { layers: changed, skipped: skipped.filter(({ name }) => own.has(name)), tensors };
}
