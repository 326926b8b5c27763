import {
  asLongAs,
  dense,
  type Findings,
  type Measurement,
  type TrainedDraw,
  type TrainingComparison,
} from "../../claims/reproduction.ts";
import type { SharedRounds } from "../../sparsify/training/train-sparse.ts";
import { EspalierError } from "../../tensor/error.ts";
import { step } from "../../tensor/progress.ts";
import { mean } from "../../tensor/statistics.ts";
import type { Testbed } from "../testbed.ts";
import { armTrainer, type Trial } from "./arm-trainer.ts";
import { halfway, trainingBaselines } from "./baselines.ts";
import type { BenchOptions } from "./bench.ts";
import { check, noShare, unknownArm, verdictAt } from "./checks.ts";

/** Trains every arm at every share, from the same first parameters at each seed. */
export async function trainOn(
  testbed: Testbed,
  comparison: TrainingComparison,
  options: BenchOptions,
): Promise<Findings> {
  const { course } = testbed;
  if (course === undefined) throw untrainable(testbed.id);
  const { draws = 3 } = options;
  const { budget = "weights", expect } = comparison;
  const epochs = comparison.epochs ?? course.lessons.epochs;
  const baselines = trainingBaselines(budget);
  const arms: TrainingComparison["arms"] = { ...baselines, ...comparison.arms };
  const controlled = [...new Set(expect.map(({ better }) => better))].filter(
    (name) => name !== dense && !(name in baselines),
  );
  const names = [...Object.keys(arms), ...controlled.map(asLongAs)];
  const known = [dense, ...names];
  for (const { better, than } of expect) {
    for (const name of [better, than]) if (!known.includes(name)) throw unknownArm(name, known);
  }
  const shares = comparison.removed.filter((removed) => options.at?.includes(removed) ?? true);
  if (shares.length === 0) throw noShare(comparison.removed);
  const total = 1 + shares.length * names.length;
  const measurements: Measurement[] = [];
  const note = (name: string, removed: number): void =>
    step(options, "reproduce", measurements.length, total, `${name} at ${Math.round(100 * removed)} %`);
  const train = await armTrainer(testbed, course, budget, options);
  const seeds = Array.from({ length: draws }, (_, seed) => seed);
  const trained: TrainedDraw[] = [];
  const inTurn = async (trials: readonly Trial[]): Promise<readonly TrainedDraw[]> => {
    const found: TrainedDraw[] = [];
    for (const trial of trials) found.push(await train(trial));
    trained.push(...found);
    return found;
  };
  const perEpoch = Math.floor(course.train.count / course.lessons.batchSize);
  /** Passes that make the work of a training that of another; as many as it has where no update is between them. */
  const stretched = (own: TrainedDraw | undefined, like: TrainedDraw | undefined): number => {
    const passes = (epochs * trainedMacs(like)) / trainedMacs(own);
    return Math.round(passes * perEpoch) === Math.round(epochs * perEpoch) ? epochs : passes;
  };

  note(dense, 0);
  const unpruned = measurementOf(
    dense,
    0,
    await inTurn(seeds.map((seed) => ({ name: dense, arm: () => [{ kind: "train" }], removed: 0, seed, epochs }))),
  );
  measurements.push(unpruned);
  for (const removed of shares) {
    const found = new Map<string, readonly TrainedDraw[]>();
    const shared = Array.from({ length: draws }, (): SharedRounds => new Map());
    const add = (name: string, runs: readonly TrainedDraw[]): void => {
      found.set(name, runs);
      measurements.push(measurementOf(name, removed, runs));
    };
    for (const [name, arm] of Object.entries(arms)) {
      note(name, removed);
      add(name, await inTurn(seeds.map((seed) => ({ name, arm, removed, seed, epochs, shared: shared[seed] }))));
    }
    const [arm, plain] = [arms[halfway], found.get(halfway)];
    if (arm === undefined || plain === undefined) continue;
    for (const name of controlled) {
      note(asLongAs(name), removed);
      const like = found.get(name) ?? [];
      const runs: TrainedDraw[] = [];
      for (const seed of seeds) {
        const passes = stretched(plain[seed], like[seed]);
        const own = passes === epochs ? plain[seed] : undefined;
        const trial = { name: halfway, arm, removed, seed, epochs: passes };
        runs.push(...(own === undefined ? await inTurn([trial]) : [own]));
      }
      add(asLongAs(name), runs);
    }
  }
  step(options, "reproduce", total, total);
  const at = (expectation: TrainingComparison["expect"][number]) =>
    expectation.at
      .filter((removed) => shares.includes(removed))
      .map((removed) => check(expectation, removed, measurements));
  const checks = expect.flatMap(at);
  const controls = controlled.flatMap((name) =>
    shares.map((removed) => check({ better: name, than: asLongAs(name), at: [removed], by: 0 }, removed, measurements)),
  );
  return {
    testbed: testbed.id,
    setting: `${testbed.id}, ${draws} seeds of first parameters and order of data, ${epochs} epochs on ${course.train.count} pictures a run, ${testbed.test.count} to test; ${scopes[budget]}`,
    dense: { accuracy: mean(unpruned.accuracy), nll: mean(unpruned.nll), samples: testbed.test.count },
    budget,
    by: "accuracy",
    measurements,
    checks,
    controls,
    verdict: verdictAt(comparison.expect, shares, checks),
    seconds: trained.reduce((sum, { seconds }) => sum + seconds, 0),
  };
}

/** What a budget counts, and of which parts. */
const scopes: Readonly<Record<NonNullable<TrainingComparison["budget"]>, string>> = {
  weights: "all weights of convolutions and linear layers can go",
  macs: "channels and ranks of all layers can go, multiply-accumulates of one picture count",
};

function measurementOf(arm: string, removed: number, runs: readonly TrainedDraw[]): Measurement {
  const over = (read: (run: TrainedDraw) => number): number => mean(runs.map(read));
  return {
    arm,
    removed,
    really: over(({ really }) => really),
    macsLeft: over(({ macsLeft }) => macsLeft),
    accuracy: runs.map(({ accuracy }) => accuracy),
    nll: runs.map(({ nll }) => nll),
    cost: {
      forwardMacs: over(({ cost }) => cost.forwardMacs),
      backwardMacs: over(({ cost }) => cost.backwardMacs),
      samples: over(({ cost }) => cost.samples),
      bytes: over(({ cost }) => cost.bytes),
      seconds: over(({ cost }) => cost.seconds),
    },
  };
}

function trainedMacs(run: TrainedDraw | undefined): number {
  return run === undefined ? Number.NaN : run.cost.forwardMacs + run.cost.backwardMacs;
}

function untrainable(id: string): EspalierError {
  const message = "expected a testbed whose model is trained here, got one with a finished model.";
  return new EspalierError("request", `testbed ${id}`, message, "Use one of those that begin with glyphs- or mnist-.");
}
