import type { LedgerTotals } from "../claims/ledger.ts";
import { type Findings, type Measurement, type TrainingComparison, verdictOf } from "../claims/reproduction.ts";
import { jitter } from "../data/jitter.ts";
import { analyse } from "../models/analysis.ts";
import { oneShot } from "../schedule/sparsity-schedule.ts";
import { staticRandom } from "../sparsify/programmes.ts";
import { type SparseTraining, trainSparse } from "../sparsify/train-sparse.ts";
import { EspalierError } from "../tensor/error.ts";
import { toFloat32 } from "../tensor/numeric.ts";
import { step } from "../tensor/progress.ts";
import { load } from "../tensor/tensor.ts";
import { crossEntropy } from "../train/objectives/losses.ts";
import { optimisers } from "../train/optimisers/registry.ts";
import { trainable } from "../train/parameters/trainable.ts";
import { cosineRate, warmedUp } from "../train/rates.ts";
import type { TrainingSettings } from "../train/train-graph.ts";
import type { BenchOptions } from "./bench.ts";
import { check, noShare, unknownArm } from "./checks.ts";
import { classify } from "./classify.ts";
import type { Lessons } from "./learn.ts";
import type { Course, Testbed } from "./testbed.ts";

type Arms = TrainingComparison["arms"];

/** What every comparison of trainings runs beside its own arms: a random mask that stays, and one cut halfway. */
const baselines: Arms = {
  "random, static": ({ removed }) => ({
    kind: "programme",
    programme: staticRandom({ sparsity: removed, profile: "erk" }),
  }),
  "global magnitude, halfway": ({ removed }) => ({
    kind: "programme",
    programme: { ramp: { final: removed, schedule: oneShot, from: 0.5, until: 0.5, scope: "global" }, changes: 2 },
  }),
};

/** Nothing is removed: what the same training gives a dense network. */
const dense: SparseTraining = { kind: "programme", programme: { changes: 1 } };

/** Trains every arm at every share, from the same first parameters at each seed. */
export async function trainOn(
  testbed: Testbed,
  comparison: TrainingComparison,
  options: BenchOptions,
): Promise<Findings> {
  const start = performance.now();
  const { course } = testbed;
  if (course === undefined) throw untrainable(testbed.id);
  const { draws = 3 } = options;
  const arms: Arms = { ...comparison.arms, ...baselines };
  for (const { better, than } of comparison.expect) {
    for (const name of [better, than]) if (!(name in arms)) throw unknownArm(name, Object.keys(arms));
  }
  const shares = comparison.removed.filter((removed) => options.at?.includes(removed) ?? true);
  if (shares.length === 0) throw noShare(comparison.removed);
  const epochs = comparison.epochs ?? course.lessons.epochs;
  const total = shares.length * Object.keys(arms).length + 1;
  const measured = async (name: string, removed: number, arm: Arms[string]): Promise<Measurement> => {
    step(options, "reproduce", measurements.length, total, `${name} at ${Math.round(100 * removed)} %`);
    const runs: Run[] = [];
    for (let seed = 0; seed < draws; seed++) {
      runs.push(await runOf(testbed, course, arm({ removed, seed }), seed, epochs, options));
    }
    return {
      arm: name,
      removed,
      really: runs.reduce((sum, { really }) => sum + really, 0) / draws,
      accuracy: runs.map(({ accuracy }) => accuracy),
      nll: runs.map(({ nll }) => nll),
      cost: meanCost(runs.map(({ cost }) => cost)),
    };
  };
  const measurements: Measurement[] = [];
  const whole = await measured("dense", 0, () => dense);
  measurements.push(whole);
  for (const removed of shares) {
    for (const [name, arm] of Object.entries(arms)) measurements.push(await measured(name, removed, arm));
  }
  step(options, "reproduce", total, total);
  const checks = comparison.expect.flatMap((expectation) =>
    expectation.at
      .filter((removed) => shares.includes(removed))
      .map((removed) => check(expectation, removed, measurements)),
  );
  return {
    testbed: testbed.id,
    setting: `${testbed.id}, ${draws} seeds of first parameters and order of data, ${epochs} epochs on ${course.train.count} pictures a run, ${testbed.test.count} to test; all weights of convolutions and linear layers can go`,
    dense: { accuracy: meanOf(whole.accuracy), nll: meanOf(whole.nll), samples: testbed.test.count },
    budget: "weights",
    measurements,
    checks,
    verdict: verdictOf(checks),
    seconds: (performance.now() - start) / 1000,
  };
}

interface Run {
  readonly really: number;
  readonly accuracy: number;
  readonly nll: number;
  readonly cost: LedgerTotals;
}

async function runOf(
  testbed: Testbed,
  course: Course,
  plan: SparseTraining,
  seed: number,
  epochs: number,
  { runtime, signal }: BenchOptions,
): Promise<Run> {
  const graph = await course.untrained(runtime, seed);
  const { matrices } = await analyse(graph, runtime);
  const { train: data, lessons, more } = course;
  const known = await trainable(graph, matrices);
  const others = more.filter((name) => known.every((one) => one.name !== name));
  const trained = await trainSparse({
    ...settingsOf(lessons, epochs),
    ...(signal === undefined ? {} : { signal }),
    ...{ runtime, graph, data, matrices, plan, seed, labels },
    parameters: [...known, ...others.map((name) => ({ name, kind: "offset" as const }))],
    objective: ({ g, outputs: [logits], input }) => {
      if (logits === undefined) throw new EspalierError("model", testbed.id, "expected an output, got none.");
      return crossEntropy(g, logits, input(labels, "i32", [logits.shape[0] ?? 1]), { smoothing: lessons.smoothing });
    },
    redrawn: () => course.untrained(runtime, seed + otherSeeds),
  });
  const { accuracy, nll } = await classify(runtime, trained.graph, testbed.test);
  let [zero, all] = [0, 0];
  for (const name of new Set(matrices.map(({ parameter }) => parameter))) {
    const ref = trained.graph.constants.get(name);
    if (ref === undefined) continue;
    for (const value of toFloat32(await load(ref))) if (value === 0) zero++;
    all += ref.shape.reduce((n, dim) => n * dim, 1);
  }
  const cost = { ...trained.work, bytes: 0, seconds: trained.seconds };
  return { really: zero / all, accuracy, nll, cost };
}

const labels = "labels";

/** Seeds of first parameters that no arm starts with. */
const otherSeeds = 1000;

/** The lessons of a testbed as settings of a training. */
function settingsOf(lessons: Lessons, epochs: number): TrainingSettings {
  const { batchSize, rate, warmUp, decay, optimiser } = lessons;
  return {
    length: { epochs },
    ...{ batchSize, rate, decay },
    optimiser: (amount) =>
      optimiser === "sgd"
        ? optimisers.sgd({ momentum: 0.9, nesterov: true, decay: amount })
        : optimisers.adamW({ decay: amount }),
    schedule: warmedUp(warmUp, cosineRate()),
    augment: jitter(lessons.jitter),
  };
}

function meanCost(costs: readonly LedgerTotals[]): LedgerTotals {
  const of = (key: keyof LedgerTotals): number => meanOf(costs.map((cost) => cost[key]));
  return {
    forwardMacs: of("forwardMacs"),
    backwardMacs: of("backwardMacs"),
    samples: of("samples"),
    bytes: of("bytes"),
    seconds: of("seconds"),
  };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function untrainable(id: string): EspalierError {
  const message = "expected a testbed whose model is trained here, got one with a finished model.";
  return new EspalierError("request", `testbed ${id}`, message, "Use one of those that begin with glyphs- or mnist-.");
}
