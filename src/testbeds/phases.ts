import { type LedgerTotals, ledger } from "../claims/ledger.ts";
import type { Phase } from "../claims/reproduction.ts";
import type { Matrix } from "../coupling/matrices.ts";
import { jitter } from "../data/jitter.ts";
import { sample } from "../data/subset.ts";
import type { Graph } from "../graph/graph.ts";
import { analyse } from "../models/analysis.ts";
import { withGraph } from "../models/model.ts";
import { prune } from "../pipeline/prune.ts";
import { shuffledMasks } from "../sparsify/mask-moves.ts";
import { type SharedRounds, type SparseTraining, trainSparse } from "../sparsify/train-sparse.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromFloats, toFloat32 } from "../tensor/numeric.ts";
import { type HostTensor, load } from "../tensor/tensor.ts";
import { crossEntropy } from "../train/objectives/losses.ts";
import { optimisers } from "../train/optimisers/registry.ts";
import { trainable } from "../train/parameters/trainable.ts";
import { cosineRate, partOfRate, type RateSchedule, warmedUp } from "../train/rates.ts";
import type { Length } from "../train/train-graph.ts";
import { looksAtData } from "./baselines.ts";
import type { BenchOptions } from "./bench.ts";
import type { Course, Testbed } from "./testbed.ts";

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

/** The network so far, and which weights stay zero: null before any is removed. */
interface Stage {
  readonly graph: Graph;
  readonly masks: ReadonlyMap<string, HostTensor> | null;
}

type Masks = NonNullable<Stage["masks"]>;

/** Takes a testbed's network from its first parameters through phases. The first training has the seed's order of data. */
export async function followPhases(
  testbed: Testbed,
  course: Course,
  phases: readonly Phase[],
  options: PhasesOptions,
): Promise<Followed> {
  let stage: Stage = { graph: await course.untrained(options.runtime, options.seed), masks: null };
  let cost: LedgerTotals = { forwardMacs: 0, backwardMacs: 0, samples: 0, bytes: 0, seconds: 0 };
  let trainings = 0;
  let draws = 0;
  for (const phase of phases) {
    if (phase.kind === "redraw") {
      draws++;
      const seed = options.seed + otherSeeds * draws;
      const { masks } = stage;
      stage = {
        graph: await course.redrawn(stage.graph, options.runtime, seed),
        masks: masks === null || phase.places !== true ? masks : elsewhere(masks, seed),
      };
      continue;
    }
    const seed = phase.kind === "train" ? options.seed + otherSeeds * trainings++ : options.seed;
    const done =
      phase.kind === "train"
        ? await trainPhase(testbed, course, phase, stage, cost, { ...options, seed })
        : await prunePhase(testbed, course, phase, stage, options);
    stage = done.stage;
    cost = sumOf(cost, done.cost);
  }
  return { graph: stage.graph, cost };
}

/** Between seeds of first parameters and orders of data of one draw; draws are fewer. */
const otherSeeds = 1000;

interface Done {
  readonly stage: Stage;
  readonly cost: LedgerTotals;
}

async function trainPhase(
  testbed: Testbed,
  { train: data, lessons, more, redrawn }: Course,
  { plan = dense, length = 1, rate = 1, part = [0, 1] }: Extract<Phase, { readonly kind: "train" }>,
  { graph, masks }: Stage,
  before: LedgerTotals,
  { runtime, signal, seed, epochs, shared }: PhasesOptions,
): Promise<Done> {
  const begins = before.samples === 0 && masks === null && length === 1;
  const { matrices } = await analyse(graph, runtime);
  const known = await trainable(graph, matrices);
  const others = more.filter((name) => known.every((one) => one.name !== name));
  const whole: RateSchedule = warmedUp(lessons.warmUp, cosineRate());
  const time: Length =
    length === "as before" ? { macs: before.forwardMacs + before.backwardMacs } : { epochs: length * epochs };
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
    objective: ({ g, outputs: [logits], input }) => {
      if (logits === undefined) throw new EspalierError("model", testbed.id, "expected an output, got none.");
      return crossEntropy(g, logits, input(labels, "i32", [logits.shape[0] ?? 1]), { smoothing: lessons.smoothing });
    },
    redrawn: () => redrawn(graph, runtime, seed + otherSeeds),
  });
  const removes = masks !== null || plan !== dense;
  return {
    stage: { graph: trained.graph, masks: removes ? await zerosOf(trained.graph, matrices) : null },
    cost: { ...trained.work, bytes: 0, seconds: trained.seconds },
  };
}

const labels = "labels";

/** Nothing is removed. */
const dense: SparseTraining = { kind: "programme", programme: { changes: 1 } };

async function prunePhase(
  testbed: Testbed,
  { train }: Course,
  { plan, inputs = 512 }: Extract<Phase, { readonly kind: "prune" }>,
  { graph, masks }: Stage,
  { runtime, signal, seed }: PhasesOptions,
): Promise<Done> {
  const book = ledger();
  const { model } = await prune(withGraph(testbed.model, graph), plan, {
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
  return {
    stage: { graph: onnx.graph, masks: removes ? await zerosOf(onnx.graph, matrices) : null },
    cost: book.totals(),
  };
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
