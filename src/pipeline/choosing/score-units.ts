import type { Group } from "../../coupling/couple.ts";
import type { Matrix } from "../../coupling/matrices.ts";
import type { Criterion, Statistic } from "../../criteria/criterion.ts";
import { groupDefaults, type UnitScoreOptions, unitScores } from "../../criteria/unit-scores.ts";
import type { IndexedDataset } from "../../data/dataset.ts";
import type { Analysis } from "../../models/analysis.ts";
import { type PhaseClock, phaseClock } from "../measuring/phase-clock.ts";
import { readerOf, type StatisticsOptions, statisticsFor } from "../statistics.ts";

/** Groups that may lose units and of which no parameter is ignored. */
export function freeGroups({ coupling }: Analysis, ignored: (name: string) => boolean): readonly Group[] {
  return coupling.groups.filter(
    ({ blocked, members }) => blocked.length === 0 && !members.some(({ parameter }) => ignored(parameter)),
  );
}

/** Measures what a criterion needs and scores the units of groups by it. */
export async function scoreUnits(
  analysis: Analysis,
  groups: readonly Group[],
  criterion: Criterion<Statistic>,
  calibration: IndexedDataset | null,
  options: StatisticsOptions & { readonly scores?: UnitScoreOptions },
  clock: PhaseClock = phaseClock(),
): Promise<ReadonlyMap<Group, Float64Array>> {
  const byParameter = new Map<string, Matrix>();
  for (const matrix of analysis.matrices) {
    if (!byParameter.has(matrix.parameter)) byParameter.set(matrix.parameter, matrix);
  }
  const members = new Set(groups.flatMap((group) => group.members.map(({ parameter }) => parameter)));
  const vectors = [...members].filter((parameter) => !byParameter.has(parameter));
  const statistics = await clock.time("calibrate", () =>
    statisticsFor(analysis, [...byParameter.values()], criterion, calibration, { ...options, vectors }),
  );
  const { scores = groupDefaults } = options;
  return clock.time("score", () =>
    unitScores(analysis.graph, groups, byParameter, criterion, readerOf(statistics), scores, options),
  );
}
