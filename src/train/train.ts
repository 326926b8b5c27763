import type { Batch, IndexedDataset } from "../data/dataset.ts";
import { shuffled } from "../data/subset.ts";
import type { Feeds } from "../graph/graph.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { fromInts } from "../tensor/numeric.ts";
import { type Job, step as report } from "../tensor/progress.ts";
import { random } from "../tensor/random.ts";
import { constantRate, type RateSchedule } from "./rates.ts";
import type { TrainStep } from "./step.ts";
import { openTrainer, type Snapshot, type Trainer } from "./trainer.ts";

/** Changes a batch before it is fed: crops, flips. `seed` is different for every batch of a run. */
export type Augment = (batch: Batch, seed: ReturnType<typeof random>) => Batch;

/** One point of the curves. */
export interface TrainPoint {
  /** Updates done. */
  readonly update: number;
  readonly rate: number;
  /** The step's reports: "loss" and whatever the objective named. */
  readonly reports: ReadonlyMap<string, number>;
}

export interface TrainOptions extends Job {
  readonly runtime: Runtime;
  /** What `trainSteps` built; all but the last only gather gradients. */
  readonly steps: readonly TrainStep[];
  readonly data: IndexedDataset;
  /** Samples of one run of a step; the steps were built for it. */
  readonly batchSize: number;
  /** Updates of the whole run. */
  readonly updates: number;
  readonly rate: number;
  readonly schedule?: RateSchedule;
  readonly seed: number;
  readonly augment?: Augment;
  /** Tensors beside the data for each run of a step, counted from 0: noise, thresholds. */
  readonly feeds?: (run: number) => Feeds;
  /** Name of the input that takes the labels, where the loss has one. */
  readonly labels?: string;
  /** Called after each update: dynamic sparsity, controllers, evaluation. May change the state. */
  readonly afterUpdate?: (trainer: Trainer, point: TrainPoint) => Promise<void>;
  readonly number?: (name: string, update: number) => number;
  /** Goes on from here. */
  readonly resume?: Snapshot;
  /** How the phase is called in progress reports. */
  readonly phase?: string;
}

export interface Trained {
  readonly points: readonly TrainPoint[];
  readonly last: Snapshot;
  /** Multiply-accumulates of all runs. */
  readonly work: { readonly forwardMacs: number; readonly backwardMacs: number };
}

/**
 * Runs updates over shuffled data. The order is a function of seed and epoch, so a run that resumes from a snapshot gives
 * the same bytes as one that was never stopped. The last, incomplete batch of an epoch is left out.
 */
export async function train(options: TrainOptions): Promise<Trained> {
  const { runtime, steps, updates, rate, schedule = constantRate, resume, phase = "train" } = options;
  const trainer = await openTrainer(runtime, steps);
  const points: TrainPoint[] = [];
  const work = { forwardMacs: 0, backwardMacs: 0 };
  try {
    if (resume !== undefined) await trainer.restore(resume);
    const source = feedsInTurn(options, trainer.updates * steps.length);
    while (trainer.updates < updates) {
      const now = rate * schedule(trainer.updates, updates);
      let reports: ReadonlyMap<string, number> = new Map();
      for (const [index, step] of steps.entries()) {
        const { value: batch = new Map() } = await source.next();
        const upcoming = trainer.updates + 1;
        const beside = options.feeds?.(trainer.updates * steps.length + index);
        const feeds = beside === undefined ? batch : new Map([...batch, ...beside]);
        const { number } = options;
        reports = await trainer.run(step, feeds, now, {
          advance: index === steps.length - 1,
          ...(number === undefined ? {} : { number: (name: string) => number(name, upcoming) }),
        });
        work.forwardMacs += step.work.forwardMacs;
        work.backwardMacs += step.work.backwardMacs;
      }
      const point = { update: trainer.updates, rate: now, reports };
      points.push(point);
      await options.afterUpdate?.(trainer, point);
      report(options, phase, trainer.updates, updates, `loss ${(reports.get("loss") ?? Number.NaN).toPrecision(4)}`);
    }
    return { points, last: await trainer.snapshot(), work };
  } finally {
    await trainer.release();
  }
}

/** The feeds of one batch after the other from batch number `from` on; the next is made while one is used. */
async function* feedsInTurn(options: TrainOptions, from: number): AsyncGenerator<Feeds> {
  const { data, batchSize, seed } = options;
  const perEpoch = Math.max(1, Math.floor(data.count / batchSize));
  const positions = Int32Array.from({ length: batchSize }, (_, i) => i);
  let order = { epoch: -1, samples: data };
  const make = async (number: number): Promise<Feeds> => {
    const epoch = Math.floor(number / perEpoch);
    if (order.epoch !== epoch) {
      order = { epoch, samples: shuffled(data, random(seed, "epoch", epoch).int(2 ** 31)) };
    }
    const start = (number % perEpoch) * batchSize;
    const batch = await order.samples.gather(positions.map((i) => (start + i) % data.count));
    const changed = options.augment?.(batch, random(seed, "augment", number)) ?? batch;
    const { labels } = changed;
    if (options.labels === undefined || labels === undefined) return changed.inputs;
    return new Map([...changed.inputs, [options.labels, fromInts("i32", [labels.length], labels)]]);
  };
  let next = make(from);
  for (let number = from; ; number++) {
    const feeds = await next;
    next = make(number + 1);
    // What fails while nobody waits for it is reported when it is asked for.
    next.catch(() => undefined);
    yield feeds;
  }
}
