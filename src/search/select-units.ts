import {
  type ByErrorOptions,
  countsByError,
  countsByTime,
  masksByCurve,
  type WidthTimes,
} from "../allocation/by-error.ts";
import type { Target } from "../allocation/target.ts";
import type { UnitCounts } from "../cost/sizes-at.ts";
import type { Group } from "../coupling/couple.ts";
import { type ErrorCurve, errorCurves, onResidual } from "../criteria/inputs/error-curves.ts";
import { type Sensitivity, shrinkSensitivity } from "../criteria/inputs/shrink-sensitivity.ts";
import type { Dataset, IndexedDataset } from "../data/dataset.ts";
import { take } from "../data/subset.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { DroppedBranch } from "../surgery/bypass.ts";
import type { Job } from "../tensor/progress.ts";

/** What a selection looks at. */
export interface SelectionContext extends Job {
  readonly runtime: Runtime;
  readonly analysis: Analysis;
  /** Groups that may lose units. */
  readonly groups: readonly Group[];
  readonly calibration: IndexedDataset;
  readonly batchSize: number;
}

export interface SelectionOptions {
  /** Kept counts are multiples of this. */
  readonly roundTo: number;
  readonly minKept: number;
  /** Whole residual branches may go. */
  readonly dropBranches: boolean;
  /** Units on the trunk of a residual network may go too. */
  readonly residual: boolean;
  /** How much measured sensitivity counts against the share of variance that is lost, from 0 to 1. */
  readonly power: number;
  /** Samples on which the sensitivity of the network to each group is measured. */
  readonly samples: number;
}

const selectionDefaults: SelectionOptions = {
  roundTo: 1,
  minKept: 1,
  dropBranches: true,
  residual: false,
  power: 0.5,
  samples: 64,
};

/** Which units go, and which branches go as a whole; their groups have no mask. */
export interface Selection {
  readonly masks: ReadonlyMap<Group, Uint8Array>;
  readonly counts: UnitCounts;
  readonly dropped: readonly DroppedGroup[];
}

/** A group all of whose units go, and the branch that it lies in with it. */
export interface DroppedGroup extends DroppedBranch {
  readonly group: Group;
}

/** What was measured once of a model; selections for any number of targets follow from it without running it again. */
export interface Selector {
  readonly curves: readonly ErrorCurve[];
  select(target: Target, options?: Partial<SelectionOptions>): Selection;
  /** The same where the timed parts of the network together take at most so long. */
  selectWithin(times: WidthTimes, limitMs: number, options?: Partial<SelectionOptions>): Selection;
}

/**
 * Measures what removal costs: for each group the error after refitting (greedy block-wise optimal brain surgery), in nats
 * of the network's output by its measured sensitivity to losing that much of what the group's consumers give. `select`
 * then chooses the widths of all groups together.
 */
export async function unitSelector(
  context: SelectionContext,
  options: Partial<SelectionOptions> = {},
): Promise<Selector> {
  const { runtime, analysis, groups, calibration } = context;
  const defaults = { ...selectionDefaults, ...options };
  const residual = onResidual(analysis);
  const eligible = defaults.residual ? groups : groups.filter((group) => !residual(group));
  const curves = await errorCurves(runtime, analysis, eligible, calibration, context);
  const few: Dataset = take(calibration, defaults.samples);
  const sensitivity = await shrinkSensitivity(runtime, analysis, curves, few, context);
  const settingsOf = ({ roundTo, minKept, dropBranches, power }: SelectionOptions): ByErrorOptions => ({
    roundTo,
    minKept,
    droppable: new Set(dropBranches ? curves.filter(isBranch).map(({ group }) => group) : []),
    loss: (curve, removed) => lossOf(curve, removed, sensitivity.get(curve.group), power),
  });
  return {
    curves,
    select: (target, asked) =>
      selectionOf(curves, countsByError(analysis, curves, target, settingsOf({ ...defaults, ...asked }))),
    selectWithin: (times, limitMs, asked) =>
      selectionOf(curves, countsByTime(curves, times, limitMs, settingsOf({ ...defaults, ...asked }))),
  };
}

/** The units that go where groups keep these counts; a group that keeps none takes its branch with it. */
function selectionOf(curves: readonly ErrorCurve[], counts: UnitCounts): Selection {
  const dropped = curves.flatMap(({ group, outputs: [output] }): DroppedGroup[] => {
    if (counts.get(group) !== 0 || output === undefined || output.joins === null) return [];
    return [{ group, ...output.joins, axis: output.axis }];
  });
  const gone = new Set(dropped.map(({ group }) => group));
  const partly = new Map([...counts].filter(([group]) => !gone.has(group)));
  const masks = masksByCurve(
    curves.filter(({ group }) => !gone.has(group)),
    partly,
  );
  return { masks, counts, dropped };
}

/** True where everything that a group feeds is one branch that joins a sum. */
function isBranch({ outputs }: ErrorCurve): boolean {
  return outputs.length === 1 && outputs[0]?.joins !== null;
}

/**
 * What an error costs: its share of what the consumers give, weighted by a power of the nats that such a loss was measured
 * to cost. Measured alone, layers look more independent than they are together; a power below 1 allows for that.
 */
function lossOf(curve: ErrorCurve, removed: number, measured: Sensitivity | undefined, power: number): number {
  const { error, whole, group } = curve;
  if (whole <= 0) return 0;
  const share = Math.min(1, (error[removed] ?? 0) / whole);
  if (measured === undefined || power === 0) return share;
  if (removed === group.size) return measured.gone ** power;
  return share * (measured.divergence / measured.amount ** 2) ** power;
}
