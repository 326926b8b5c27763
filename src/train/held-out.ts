import type { IndexedDataset } from "../data/dataset.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromInts } from "../tensor/numeric.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { slotName, type TrainStep } from "./step.ts";
import type { TrainPoint } from "./train.ts";
import type { Trainer } from "./trainer.ts";

/** Data that is not learnt from, by which the best moment of a run is known. */
export interface HeldOut {
  /** What `lossStep` built for batches of this size; a last incomplete batch is left out. */
  readonly step: TrainStep;
  readonly data: IndexedDataset;
  readonly batchSize: number;
  /** Updates between two measurements; one comes at the end too. */
  readonly every: number;
  /** Measurements without a lower loss after which the run ends; it goes on to its end unless told. */
  readonly patience?: number;
  /** What is remembered of the moment with the lowest loss: the parameters. */
  readonly keep: readonly string[];
}

/** How the loss on held-out data is called among a point's reports. */
export const heldOutName = "heldOut";

/** Name in the state of what was remembered of a tensor. */
export const bestName = (tensor: string): string => slotName("best", tensor);

/** The mean loss on held-out data at the present state; batches count by the labels that count in them. */
async function heldOutLoss(
  trainer: Trainer,
  { step, data, batchSize }: HeldOut,
  labelInput: string | undefined,
): Promise<number> {
  let sum = 0;
  let weight = 0;
  for (let start = 0; start + batchSize <= data.count; start += batchSize) {
    const batch = await data.gather(Int32Array.from({ length: batchSize }, (_, i) => start + i));
    const { labels } = batch;
    const feeds = new Map<string, HostTensor>(batch.inputs);
    if (labelInput !== undefined && labels !== undefined) {
      feeds.set(labelInput, fromInts("i32", [batchSize, ...(data.labelShape ?? [])], labels));
    }
    const counted = labels === undefined ? batchSize : labels.reduce((n, label) => n + (label < 0 ? 0 : 1), 0);
    const reports = await trainer.run(step, feeds, 0, { advance: false });
    sum += counted * (reports.get("loss") ?? Number.NaN);
    weight += counted;
  }
  if (weight > 0) return sum / weight;
  throw new EspalierError("data", data.description, `expected at least ${batchSize} samples to measure on, got fewer.`);
}

/** The point with the lowest loss on held-out data; undefined before the first measurement. */
export function bestPoint(points: readonly TrainPoint[]): TrainPoint | undefined {
  let best: TrainPoint | undefined;
  for (const point of points) {
    const loss = point.reports.get(heldOutName);
    if (loss !== undefined && loss < (best?.reports.get(heldOutName) ?? Number.POSITIVE_INFINITY)) best = point;
  }
  return best;
}

/** Measures where it is due: gives the point with what was found, and remembers the parameters where it is the best. */
export async function watched(
  trainer: Trainer,
  heldOut: HeldOut,
  point: TrainPoint,
  {
    points,
    last,
    labels,
  }: { readonly points: readonly TrainPoint[]; readonly last: boolean; readonly labels: string | undefined },
): Promise<TrainPoint> {
  if (point.update % heldOut.every !== 0 && !last) return point;
  const loss = await heldOutLoss(trainer, heldOut, labels);
  const best = bestPoint(points)?.reports.get(heldOutName) ?? Number.POSITIVE_INFINITY;
  if (loss < best) {
    const tensors = await trainer.get(heldOut.keep);
    await trainer.set(new Map([...tensors].map(([name, tensor]) => [bestName(name), tensor])));
  }
  return { ...point, reports: new Map([...point.reports, [heldOutName, loss]]) };
}

/** True where so many measurements came after the best one that the run is to end. */
export function exhausted(points: readonly TrainPoint[], { patience = Number.POSITIVE_INFINITY }: HeldOut): boolean {
  const best = bestPoint(points)?.update;
  if (best === undefined) return false;
  return points.filter(({ update, reports }) => update > best && reports.has(heldOutName)).length >= patience;
}
