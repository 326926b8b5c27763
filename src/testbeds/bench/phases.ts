import { type LedgerTotals, ledger } from "../../claims/ledger.ts";
import type { Phase } from "../../claims/reproduction.ts";
import type { Matrix } from "../../coupling/matrices.ts";
import { jitter } from "../../data/changes/jitter.ts";
import { sample } from "../../data/subset.ts";
import type { Graph } from "../../graph/graph.ts";
import { analyse } from "../../models/analysis.ts";
import { withGraph } from "../../models/model.ts";
import { prune } from "../../pipeline/prune.ts";
import type { UnitPlan } from "../../plans/plan.ts";
import { shuffledMasks } from "../../sparsify/training/mask-moves.ts";
import { normScales, scalesOfUnits } from "../../sparsify/training/norm-scales.ts";
import { type SharedRounds, type SparseTraining, trainSparse } from "../../sparsify/training/train-sparse.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats, toFloat32 } from "../../tensor/numeric.ts";
import { type HostTensor, load } from "../../tensor/tensor.ts";
import { crossEntropy } from "../../train/objectives/losses.ts";
import { type Penalty, regularised, scaleL1 } from "../../train/objectives/regularisers.ts";
import { optimisers } from "../../train/optimisers/registry.ts";
import { trainable } from "../../train/parameters/trainable.ts";
import { cosineRate, partOfRate, type RateSchedule, warmedUp } from "../../train/rates.ts";
import type { Objective } from "../../train/step.ts";
import type { Length } from "../../train/train-graph.ts";
import type { Course, Testbed } from "../testbed.ts";
import { looksAtData } from "./baselines.ts";
import type { BenchOptions } from "./bench.ts";

export interface PhasesOptions extends Pick<BenchOptions, "runtime" | "signal"> {
  readonly seed: number;
  /** Passes over the data of a training of length 1. */
  readonly epochs: number;
  /** Rounds that ways of the same seed and length have in common, where these begin with them. */
  readonly shared?: SharedRounds;
}

/** What a network's way gave, and what it took. */
export interface Followed {
  readonly graph: Graph;
  readonly cost: LedgerTotals;
}

/** The network so far. */
interface Stage {
  readonly graph: Graph;
  /** Which weights stay zero; null before any is removed. */
  readonly masks: ReadonlyMap<string, HostTensor> | null;
  /** Units that were chosen, by group, and the plan that chose them. */
  readonly chosen: { readonly plan: UnitPlan; readonly units: ReadonlyMap<string, Uint8Array> } | null;
  /** The network as it was marked. */
  readonly marked: Pick<Stage, "graph" | "masks"> | null;
}

type Masks = NonNullable<Stage["masks"]>;

/** Takes a testbed's network from its first parameters through phases. The first training has the seed's order of data. */
export async function followPhases(
  testbed: Testbed,
  course: Course,
  phases: readonly Phase[],
  options: PhasesOptions,
): Promise<Followed> {
  const first = await course.untrained(options.runtime, options.seed);
  let stage: Stage = { graph: first, masks: null, chosen: null, marked: null };
  let cost = nothing;
  let trainings = 0;
  let draws = 0;
  for (const phase of phases) {
    const done = await follow(phase);
    stage = { ...stage, ...done.stage };
    cost = sumOf(cost, done.cost ?? nothing);
  }
  return { graph: stage.graph, cost };

  async function follow(phase: Phase): Promise<Done> {
    switch (phase.kind) {
      case "train": {
        const seed = options.seed + otherSeeds * trainings++;
        return trainPhase(testbed, course, phase, stage, cost, { ...options, seed });
      }
      case "prune":
        return (await prunePhase(testbed, course, phase, stage, options)).done;
      case "choose": {
        const { done, units } = await prunePhase(testbed, course, phase, stage, options);
        return {
          stage: { chosen: { plan: phase.plan, units } },
          ...(done.cost === undefined ? {} : { cost: done.cost }),
        };
      }
      case "cut": {
        const { plan, units } = stage.chosen ?? nothingChosen();
        return (await prunePhase(testbed, course, { plan: { ...plan, given: units } }, stage, options)).done;
      }
      case "mark":
        return { stage: { marked: { graph: stage.graph, masks: stage.masks } } };
      case "return":
        return { stage: stage.marked ?? nothingMarked() };
      case "redraw": {
        const seed = options.seed + otherSeeds * ++draws;
        const { masks } = stage;
        const graph = await course.redrawn(stage.graph, options.runtime, seed);
        return { stage: { graph, masks: masks === null || phase.places !== true ? masks : elsewhere(masks, seed) } };
      }
    }
  }
}

/** Between seeds of first parameters and orders of data of one draw; draws are fewer. */
const otherSeeds = 1000;

/** What a phase changes, and what it took. */
interface Done {
  readonly stage: Partial<Stage>;
  readonly cost?: LedgerTotals;
}

const nothing: LedgerTotals = { forwardMacs: 0, backwardMacs: 0, samples: 0, bytes: 0, seconds: 0 };

async function trainPhase(
  testbed: Testbed,
  { train: data, lessons, more, redrawn }: Course,
  { plan = dense, length = 1, rate = 1, part = [0, 1], shrink }: Extract<Phase, { readonly kind: "train" }>,
  { graph, masks, chosen }: Stage,
  before: LedgerTotals,
  { runtime, signal, seed, epochs, shared }: PhasesOptions,
): Promise<Done> {
  const begins = before.samples === 0 && masks === null && length === 1 && shrink === undefined;
  const { matrices, coupling } = await analyse(graph, runtime);
  const known = await trainable(graph, matrices);
  const others = more.filter((name) => known.every((one) => one.name !== name));
  const whole: RateSchedule = warmedUp(lessons.warmUp, cosineRate());
  const time: Length =
    length === "as before" ? { macs: before.forwardMacs + before.backwardMacs } : { epochs: length * epochs };
  const objective: Objective = ({ g, outputs: [logits], input }) => {
    if (logits === undefined) throw new EspalierError("model", testbed.id, "expected an output, got none.");
    return crossEntropy(g, logits, input(labels, "i32", [logits.shape[0] ?? 1]), { smoothing: lessons.smoothing });
  };
  const trained = await trainSparse({
    ...(signal === undefined ? {} : { signal }),
    ...(masks === null ? {} : { masks }),
    ...(begins && shared !== undefined ? { shared } : {}),
    ...{ runtime, graph, data, matrices, plan, seed, labels, length: time },
    batchSize: lessons.batchSize,
    rate: rate * lessons.rate,
    decay: lessons.decay,
    schedule: partOfRate(whole, ...part),
    optimiser: (amount) =>
      lessons.optimiser === "sgd"
        ? optimisers.sgd({ momentum: 0.9, nesterov: true, decay: amount })
        : optimisers.adamW({ decay: amount }),
    augment: jitter(lessons.jitter),
    parameters: [...known, ...others.map((name) => ({ name, kind: "offset" as const }))],
    objective: shrink === undefined ? objective : regularised(objective, { "norm scales": penaltyOf(shrink) }),
    redrawn: () => redrawn(graph, runtime, seed + otherSeeds),
  });
  const removes = masks !== null || (plan !== dense && plan.kind !== "ranks");
  return {
    stage: { graph: trained.graph, masks: removes ? await zerosOf(trained.graph, matrices) : null },
    cost: { ...trained.work, bytes: 0, seconds: trained.seconds },
  };

  function penaltyOf({ scales, strength }: NonNullable<typeof shrink>): Penalty {
    if (scales === "all") return { strength, term: scaleL1(normScales(graph)) };
    const { units } = chosen ?? nothingChosen();
    const masks = new Map(coupling.groups.flatMap((group) => entryOf(group, units.get(group.id))));
    return { strength, term: scaleL1(scalesOfUnits(graph, coupling, masks)) };
  }
}

function entryOf<K, V>(key: K, value: V | undefined): readonly (readonly [K, V])[] {
  return value === undefined ? [] : [[key, value]];
}

function nothingChosen(): never {
  throw new EspalierError(
    "request",
    "phase",
    "expected units that were chosen before, got none.",
    "Choose them first.",
  );
}

function nothingMarked(): never {
  throw new EspalierError("request", "phase return", "expected a network that was marked before, got none.");
}

const labels = "labels";

/** Nothing is removed. */
const dense: SparseTraining = { kind: "programme", programme: { changes: 1 } };

async function prunePhase(
  testbed: Testbed,
  { train }: Course,
  { plan, inputs = 512 }: Omit<Extract<Phase, { readonly kind: "prune" }>, "kind">,
  { graph, masks }: Stage,
  { runtime, signal, seed }: PhasesOptions,
): Promise<{ readonly done: Done; readonly units: ReadonlyMap<string, Uint8Array> }> {
  const book = ledger();
  const { model, masks: units } = await prune(withGraph(testbed.model, graph), plan, {
    ...(signal === undefined ? {} : { signal }),
    runtime: book.watch(runtime),
    // Without data the report has nothing to look at either, so that the ledger holds the method alone.
    calibration: looksAtData(plan) ? sample(train, Math.min(inputs, train.count), seed) : null,
    seed,
    measure: false,
  });
  const { onnx } = model;
  const removes = masks !== null || plan.kind === "weights";
  const { matrices } = await analyse(onnx.graph, runtime);
  const stage = { graph: onnx.graph, masks: removes ? await zerosOf(onnx.graph, matrices) : null };
  return { units, done: { stage, cost: book.totals() } };
}

/** Masks of matrices: 0 where a weight is zero. */
async function zerosOf(graph: Graph, matrices: readonly Matrix[]): Promise<Masks> {
  const found = new Map<string, HostTensor>();
  for (const { parameter } of matrices) {
    const ref = graph.constants.get(parameter);
    if (ref === undefined || found.has(parameter)) continue;
    const values = toFloat32(await load(ref));
    const mask = new Float32Array(values.length);
    for (let i = 0; i < mask.length; i++) mask[i] = values[i] === 0 ? 0 : 1;
    found.set(parameter, fromFloats("f32", ref.shape, mask));
  }
  return found;
}

/** The same counts at other places. */
function elsewhere(masks: Masks, seed: number): Masks {
  const bits = new Map([...masks].map(([name, mask]) => [name, Uint8Array.from(toFloat32(mask))]));
  return new Map(
    [...shuffledMasks(bits, seed)].map(([name, mask]) => [
      name,
      fromFloats("f32", masks.get(name)?.shape ?? [], Float32Array.from(mask)),
    ]),
  );
}

function sumOf(a: LedgerTotals, b: LedgerTotals): LedgerTotals {
  return {
    forwardMacs: a.forwardMacs + b.forwardMacs,
    backwardMacs: a.backwardMacs + b.backwardMacs,
    samples: a.samples + b.samples,
    bytes: a.bytes + b.bytes,
    seconds: a.seconds + b.seconds,
  };
}
