import { type KnownRuns, ledger } from "../../claims/ledger.ts";
import {
  type Arm,
  type Bench,
  type Comparison,
  type Measurement,
  dense as original,
  type TrainedDraw,
} from "../../claims/reproduction.ts";
import type { IndexedDataset } from "../../data/dataset.ts";
import { sample } from "../../data/subset.ts";
import { analyse } from "../../models/analysis.ts";
import type { Report } from "../../pipeline/measuring/report.ts";
import { prune } from "../../pipeline/prune.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Journal } from "../../studies/journal.ts";
import { type Job, step } from "../../tensor/progress.ts";
import type { Testbed } from "../testbed.ts";
import { baselines, isDrawn, looksAtData } from "./baselines.ts";
import { check, noShare, unknownArm, verdictAt } from "./checks.ts";
import { classify } from "./classify.ts";
import { type FurtherMeter, furtherMeter, inDraws } from "./further.ts";
import { trainOn } from "./train-bench.ts";
import { workLeft } from "./work-left.ts";

export interface BenchOptions extends Job {
  readonly runtime: Runtime;
  /** Calibration draws, with seeds 0, 1, 2 ..; 3 unless told. */
  readonly draws?: number;
  /** Only these of a comparison's shares; all unless told. */
  readonly at?: readonly number[];
  /** Finished trainings of one paper's comparison, so that it goes on where it was stopped, or with more draws or shares. */
  readonly journal?: Journal<TrainedDraw>;
}

/** A bench on a testbed. */
export function benchOn(testbed: Testbed, options: BenchOptions): Bench {
  const { runtime, draws = 3 } = options;
  return {
    train: (comparison) => trainOn(testbed, comparison, options),
    compare: async (comparison) => {
      const start = performance.now();
      const { by = "accuracy" } = comparison;
      const arms: Readonly<Record<string, Arm>> = { ...comparison.arms, ...baselines(comparison) };
      // A draw of more than half of the pool would be much like any other draw.
      const inputs = Math.min(comparison.calibration ?? 512, Math.floor(testbed.pool.count / 2));
      for (const { better, than } of comparison.expect) {
        for (const name of [better, than])
          if (name !== original && !(name in arms)) throw unknownArm(name, Object.keys(arms));
      }
      const { graph } = testbed.model.onnx;
      const { further = [] } = comparison;
      const meter = further.length === 0 ? null : await furtherMeter(testbed, further, runtime);
      const besides = meter === null ? {} : { further: inDraws([await meter(graph)]) };
      const dense = { ...(await classify(runtime, graph, testbed.test)), ...besides };
      const measurements: Measurement[] = [];
      const shares = comparison.removed.filter((removed) => options.at?.includes(removed) ?? true);
      if (shares.length === 0) throw noShare(comparison.removed);
      const trials = shares.flatMap((removed) =>
        Object.entries(arms).flatMap(([name, arm]) =>
          arm.at?.includes(removed) === false ? [] : [{ removed, name, arm }],
        ),
      );
      const total = trials.length;
      const known: KnownRuns = new Map();
      const before = await workLeft(await analyse(testbed.model.onnx.graph, options.runtime));
      for (const { removed, name, arm } of trials) {
        step(options, "reproduce", measurements.length, total, `${name} at ${Math.round(100 * removed)} %`);
        const trial = { name, arm, budget: comparison.budget, removed, inputs, draws, macs: before.macs, known, meter };
        measurements.push(await measure(testbed, trial, options));
      }
      step(options, "reproduce", total, total);
      const unpruned = { arm: original, removed: 0, accuracy: [dense.accuracy], nll: [dense.nll], ...besides };
      const checks = comparison.expect.flatMap((expectation) =>
        expectation.at
          .filter((removed) => shares.includes(removed))
          .map((removed) => check(expectation, removed, [unpruned, ...measurements], by)),
      );
      const general = further.includes("general loss") ? `; ${testbed.general?.description}` : "";
      return {
        testbed: testbed.id,
        setting: `${testbed.description}${general}; ${draws} draws of ${inputs} calibration inputs`,
        dense,
        budget: comparison.budget,
        by,
        measurements,
        checks,
        controls: [],
        verdict: verdictAt(comparison.expect, shares, checks),
        seconds: (performance.now() - start) / 1000,
      };
    },
  };
}

interface Trial {
  readonly name: string;
  readonly arm: Arm;
  readonly budget: Comparison["budget"];
  readonly removed: number;
  /** Calibration inputs of a draw. */
  readonly inputs: number;
  readonly draws: number;
  /** Multiply-accumulates of the original. */
  readonly macs: number;
  /** What runs of the comparison took. */
  readonly known: KnownRuns;
  /** What is measured besides accuracy and loss. */
  readonly meter: FurtherMeter | null;
}

async function measure(testbed: Testbed, trial: Trial, options: BenchOptions): Promise<Measurement> {
  const { name, arm, budget, removed, inputs, draws, known, meter } = trial;
  const accuracy: number[] = [];
  const nll: number[] = [];
  const besides: Awaited<ReturnType<FurtherMeter>>[] = [];
  let [really, macsLeft] = [0, 0];
  const book = ledger(known);
  const runtime = book.watch(options.runtime);
  let runs = 0;
  for (let seed = 0; seed < draws; seed++) {
    const plan = arm.plan({ removed, seed });
    if (seed > 0 && !isDrawn(plan)) break;
    const job = options.signal === undefined ? {} : { signal: options.signal };
    const result = await prune(testbed.model, plan, {
      ...job,
      runtime,
      calibration: looksAtData(plan) ? drawOf(testbed, arm.data ?? "calibration", inputs, seed) : null,
      general: testbed.general === undefined ? null : sample(testbed.general.pool, inputs, seed),
      seed,
      // The ledger holds the method alone.
      measure: false,
      compare: false,
      method: name,
    });
    const found = await classify(options.runtime, result.model.onnx.graph, testbed.test);
    accuracy.push(found.accuracy);
    nll.push(found.nll);
    if (meter !== null) besides.push(await meter(result.model.onnx.graph));
    really += share(result.report, budget);
    macsLeft += (await workLeft(await analyse(result.model.onnx.graph, options.runtime))).macs / trial.macs;
    runs++;
  }
  const { forwardMacs, backwardMacs, samples, bytes, seconds } = book.totals();
  const cost = {
    forwardMacs: forwardMacs / runs,
    backwardMacs: backwardMacs / runs,
    samples: samples / runs,
    bytes: bytes / runs,
    seconds: seconds / runs,
  };
  const further = meter === null ? {} : { further: inDraws(besides) };
  return { arm: name, removed, really: really / runs, macsLeft: macsLeft / runs, accuracy, nll, cost, ...further };
}

function drawOf(testbed: Testbed, from: NonNullable<Arm["data"]>, inputs: number, seed: number): IndexedDataset {
  return from === "noise" ? testbed.noise(inputs, seed) : sample(testbed.pool, inputs, seed);
}

function share({ before, after, layers }: Report, budget: Comparison["budget"]): number {
  if (budget !== "weights") return 1 - after[budget] / before[budget];
  const sum = (which: "before" | "after"): number => layers.reduce((total, layer) => total + layer[which], 0);
  return 1 - sum("after") / sum("before");
}
