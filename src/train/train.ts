import type { Batch, IndexedDataset } from "../data/dataset.ts";
import { shuffled } from "../data/subset.ts";
import type { Feeds } from "../graph/graph.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { fromInts } from "../tensor/numeric.ts";
import { type Job, step as report } from "../tensor/progress.ts";
import { random } from "../tensor/random.ts";
import { exhausted, type HeldOut, watched } from "./held-out.ts";
import { paceOf } from "./pace.ts";
import { constantRate, type RateSchedule } from "./rates.ts";
import { slotName, type TrainStep } from "./step.ts";
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

/** A point of a run from which it goes on as if it had never stopped. */
export interface RunSnapshot extends Snapshot {
  /** Updates of the whole run, which the learning rate follows. */
  readonly planned: number;
  readonly points: readonly TrainPoint[];
}

/** Keeps snapshots while a run goes on, and one of the last good state when it is stopped or fails. */
export interface Keeping {
  /** Least time between two snapshots, in seconds. */
  readonly seconds: number;
  write(snapshot: RunSnapshot): Promise<void>;
}

export interface TrainOptions extends Job {
  readonly runtime: Runtime;
  /** What `trainSteps` built; all but the last only gather gradients. */
  readonly steps: readonly TrainStep[];
  readonly data: IndexedDataset;
  /** Samples of one run of a step; the steps were built for it. */
  readonly batchSize: number;
  /** Updates of the whole run; or minutes, of which the first updates show how many updates they are. */
  readonly updates: number | { readonly minutes: number };
  /** Stops after this update, on the way of the whole run: what comes then can be resumed from its snapshot. */
  readonly until?: number;
  readonly rate: number;
  readonly schedule?: RateSchedule;
  readonly seed: number;
  readonly augment?: Augment;
  /** Tensors beside the data for each run of a step, counted from 0: noise, thresholds. */
  readonly feeds?: (run: number) => Feeds;
  /** Name of the input that takes the labels, where the loss has one. */
  readonly labels?: string;
  /** Called after each update with the feeds of its last run: dynamic sparsity, controllers, evaluation. May change the state. */
  readonly afterUpdate?: (trainer: Trainer, point: TrainPoint, feeds: Feeds) => Promise<void>;
  readonly number?: (name: string, update: number) => number;
  /** Goes on from here. */
  readonly resume?: RunSnapshot;
  readonly keep?: Keeping;
  /** Measures a loss on other data on the way, and remembers the parameters of the best moment. */
  readonly heldOut?: HeldOut;
  /** How the phase is called in progress reports. */
  readonly phase?: string;
}

export interface Trained {
  readonly points: readonly TrainPoint[];
  readonly last: RunSnapshot;
  /** Multiply-accumulates of all runs and probes, and the samples that were fed; of this call, not of one that it resumed. */
  readonly work: { readonly forwardMacs: number; readonly backwardMacs: number; readonly samples: number };
  /** Of the updates, without compiling. */
  readonly seconds: number;
}

/**
 * Runs updates over shuffled data. The order is a function of seed and epoch, so a run that resumes from a snapshot gives
 * the same bytes as one that was never stopped. The last, incomplete batch of an epoch is left out. A run of minutes gives
 * the bytes of a run of as many updates.
 */
export async function train(options: TrainOptions): Promise<Trained> {
  const { runtime, steps, rate, schedule = constantRate, resume, keep, heldOut, labels, phase = "train" } = options;
  const began = performance.now();
  const trainer = await openTrainer(runtime, heldOut === undefined ? steps : [...steps, heldOut.step]);
  const points: TrainPoint[] = [...(resume?.points ?? [])];
  let planned = resume?.planned ?? 0;
  let kept = 0;
  const snapshot = async (): Promise<RunSnapshot> => ({ ...(await trainer.snapshot()), planned, points: [...points] });
  const save = async (): Promise<void> => {
    kept = trainer.updates;
    await keep?.write(betweenUpdates(await snapshot()));
  };
  try {
    if (resume !== undefined) await trainer.restore(resume);
    planned = await plannedUpdates(options, trainer, began);
    kept = trainer.updates;
    const before = trainer.work;
    const start = performance.now();
    let savedAt = start;
    const source = feedsInTurn(options, trainer.updates * steps.length);
    const end = Math.min(planned, options.until ?? planned);
    while (trainer.updates < end) {
      const now = rate * schedule(trainer.updates, planned);
      const { reports, feeds } = await update(options, trainer, source, now);
      const found = { update: trainer.updates, rate: now, reports };
      const watch = { points, last: trainer.updates === planned, labels };
      const point = heldOut === undefined ? found : await watched(trainer, heldOut, found, watch);
      points.push(point);
      await options.afterUpdate?.(trainer, point, feeds);
      report(options, phase, trainer.updates, planned, `loss ${(reports.get("loss") ?? Number.NaN).toPrecision(4)}`);
      if (heldOut !== undefined && point !== found && exhausted(points, heldOut)) break;
      if (keep === undefined || trainer.updates === planned) continue;
      if (performance.now() - savedAt < 1000 * keep.seconds) continue;
      await save();
      savedAt = performance.now();
    }
    const { work } = trainer;
    const spent = {
      forwardMacs: work.forwardMacs - before.forwardMacs,
      backwardMacs: work.backwardMacs - before.backwardMacs,
      samples: options.batchSize * (work.runs - before.runs),
    };
    return { points, last: await snapshot(), work: spent, seconds: (performance.now() - start) / 1000 };
  } catch (cause) {
    // What stopped the run is what is told, also where the state cannot be had any more.
    if (trainer.updates > kept) await save().catch(() => undefined);
    throw cause;
  } finally {
    await trainer.release();
  }
}

/** One update: all steps on a batch each; gives the reports and the feeds of the last. */
async function update(
  { steps, number, feeds: besides }: TrainOptions,
  trainer: Trainer,
  source: AsyncGenerator<Feeds>,
  rate: number,
): Promise<{ readonly reports: ReadonlyMap<string, number>; readonly feeds: Feeds }> {
  let reports: ReadonlyMap<string, number> = new Map();
  let last: Feeds = new Map();
  const upcoming = trainer.updates + 1;
  for (const [index, step] of steps.entries()) {
    const { value: batch = new Map() } = await source.next();
    const beside = besides?.(trainer.updates * steps.length + index);
    const feeds = beside === undefined ? batch : new Map([...batch, ...beside]);
    last = feeds;
    reports = await trainer.run(step, feeds, rate, {
      advance: index === steps.length - 1,
      ...(number === undefined ? {} : { number: (name: string) => number(name, upcoming) }),
    });
  }
  return { reports, feeds: last };
}

/** How many updates the run has; for minutes, by the pace of the first ones, which are undone. */
async function plannedUpdates(options: TrainOptions, trainer: Trainer, began: number): Promise<number> {
  const { updates, resume } = options;
  if (typeof updates === "number") return updates;
  if (resume !== undefined) return resume.planned;
  const source = feedsInTurn(options, 0);
  const pace = await paceOf(trainer, () => update(options, trainer, source, options.rate));
  await source.return(undefined);
  const left = updates.minutes * 60 - (performance.now() - began) / 1000;
  return Math.max(1, Math.floor(left / pace));
}

/** A snapshot taken inside an update has sums of gradients that the update would gather again. */
function betweenUpdates(snapshot: RunSnapshot): RunSnapshot {
  const prefix = slotName("gradient", "");
  const tensors = new Map(snapshot.tensors);
  for (const [name, tensor] of tensors) {
    if (name.startsWith(prefix)) tensors.set(name, { ...tensor, bytes: new Uint8Array(tensor.bytes.length) });
  }
  return { ...snapshot, tensors };
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
    const shape = [changed.count, ...(data.labelShape ?? [])];
    return new Map([...changed.inputs, [options.labels, fromInts("i32", shape, labels)]]);
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
