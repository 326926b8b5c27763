import type { LedgerTotals } from "../claims/ledger.ts";
import {
  asLongAs,
  dense,
  type Findings,
  type Measurement,
  type Phase,
  type TrainingArm,
  type TrainingComparison,
  verdictOf,
} from "../claims/reproduction.ts";
import type { Graph } from "../graph/graph.ts";
import { analyse } from "../models/analysis.ts";
import type { SharedRounds, SparseTraining } from "../sparsify/train-sparse.ts";
import { EspalierError } from "../tensor/error.ts";
import { step } from "../tensor/progress.ts";
import { mean } from "../tensor/statistics.ts";
import { halfway, trainingBaselines } from "./baselines.ts";
import type { BenchOptions } from "./bench.ts";
import { check, noShare, unknownArm } from "./checks.ts";
import { classify } from "./classify.ts";
import { followPhases } from "./phases.ts";
import type { Testbed } from "./testbed.ts";
import { workLeft } from "./work-left.ts";

/** One draw of an arm. */
interface Run {
  readonly really: number;
  readonly macsLeft: number;
  readonly accuracy: number;
  readonly nll: number;
  readonly cost: LedgerTotals;
}

/** Trains every arm at every share, from the same first parameters at each seed. */
export async function trainOn(
  testbed: Testbed,
  comparison: TrainingComparison,
  options: BenchOptions,
): Promise<Findings> {
  const start = performance.now();
  const { course } = testbed;
  if (course === undefined) throw untrainable(testbed.id);
  const { draws = 3, runtime } = options;
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
  const counted = async (graph: Graph) => {
    const analysis = await analyse(graph, runtime);
    const left = await workLeft(analysis);
    return { left: budget === "macs" ? analysis.cost.total().macs : left.weights, macs: left.macs };
  };
  const whole = await counted(await course.untrained(runtime, 0));

  const runOf = async (
    arm: TrainingArm,
    removed: number,
    seed: number,
    passes: number,
    shared?: SharedRounds,
  ): Promise<Run> => {
    const phases = phasesOf(arm({ removed, seed }));
    const { graph, cost } = await followPhases(testbed, course, phases, {
      ...{ ...options, seed, epochs: passes },
      ...(shared === undefined ? {} : { shared }),
    });
    const { accuracy, nll } = await classify(runtime, graph, testbed.test);
    const { left, macs } = await counted(graph);
    return { really: 1 - left / whole.left, macsLeft: macs / whole.macs, accuracy, nll, cost };
  };
  const runsOf = async (
    arm: TrainingArm,
    removed: number,
    shared: readonly SharedRounds[],
  ): Promise<readonly Run[]> => {
    const runs: Run[] = [];
    for (let seed = 0; seed < draws; seed++) runs.push(await runOf(arm, removed, seed, epochs, shared[seed]));
    return runs;
  };
  /** The same training for as many passes as make its multiply-accumulates those of other runs, draw by draw. */
  const stretched = async (arm: TrainingArm, removed: number, plain: readonly Run[], like: readonly Run[]) => {
    const runs: Run[] = [];
    for (const [seed, one] of plain.entries()) {
      const factor = macsOf(like[seed]) / macsOf(one);
      const passes = updatesOf(factor * epochs) === updatesOf(epochs) ? epochs : factor * epochs;
      runs.push(passes === epochs ? one : await runOf(arm, removed, seed, passes));
    }
    return runs;
  };
  const updatesOf = (passes: number): number =>
    Math.round(passes * Math.floor(course.train.count / course.lessons.batchSize));

  note(dense, 0);
  const unpruned = measurementOf(dense, 0, await runsOf(() => [{ kind: "train" }], 0, []));
  measurements.push(unpruned);
  for (const removed of shares) {
    const found = new Map<string, readonly Run[]>();
    const shared = Array.from({ length: draws }, (): SharedRounds => new Map());
    const add = (name: string, runs: readonly Run[]): void => {
      found.set(name, runs);
      measurements.push(measurementOf(name, removed, runs));
    };
    for (const [name, arm] of Object.entries(arms)) {
      note(name, removed);
      add(name, await runsOf(arm, removed, shared));
    }
    const [control, plain] = [arms[halfway], found.get(halfway)];
    if (control === undefined || plain === undefined) continue;
    for (const name of controlled) {
      note(asLongAs(name), removed);
      add(asLongAs(name), await stretched(control, removed, plain, found.get(name) ?? []));
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
    setting: `${testbed.id}, ${draws} seeds of first parameters and order of data, ${epochs} epochs on ${course.train.count} pictures a run, ${testbed.test.count} to test; all weights of convolutions and linear layers can go`,
    dense: { accuracy: mean(unpruned.accuracy), nll: mean(unpruned.nll), samples: testbed.test.count },
    budget,
    measurements,
    checks,
    controls,
    verdict: verdictOf(checks),
    seconds: (performance.now() - start) / 1000,
  };
}

function phasesOf(arm: SparseTraining | readonly Phase[]): readonly Phase[] {
  return "kind" in arm ? [{ kind: "train", plan: arm }] : arm;
}

function measurementOf(arm: string, removed: number, runs: readonly Run[]): Measurement {
  const over = (read: (run: Run) => number): number => mean(runs.map(read));
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

function macsOf(run: Run | undefined): number {
  return run === undefined ? Number.NaN : run.cost.forwardMacs + run.cost.backwardMacs;
}

function untrainable(id: string): EspalierError {
  const message = "expected a testbed whose model is trained here, got one with a finished model.";
  return new EspalierError("request", `testbed ${id}`, message, "Use one of those that begin with glyphs- or mnist-.");
}
