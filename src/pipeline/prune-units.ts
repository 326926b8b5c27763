import { type Group, unitCount } from "../coupling/couple.ts";
import { headsOf } from "../coupling/heads.ts";
import type { Matrix } from "../coupling/matrices.ts";
import { unitScores } from "../criteria/unit-scores.ts";
import { nearTies } from "../masks/near-ties.ts";
import type { Analysis } from "../models/analysis.ts";
import { foldConstants } from "../recovery/fold.ts";
import { unitSelector } from "../search/select-units.ts";
import { dropBranches, maskBranches } from "../surgery/bypass.ts";
import { cut } from "../surgery/cut.ts";
import { keptPositions } from "../surgery/kept.ts";
import { checkLaw } from "../surgery/law.ts";
import { masked } from "../surgery/masked.ts";
import { EspalierError } from "../tensor/error.ts";
import { step } from "../tensor/progress.ts";
import { byError, byScores, type Chooser } from "./chooser.ts";
import { matcher } from "./ignore.ts";
import { lawFeeds } from "./law-feeds.ts";
import type { UnitPlan } from "./plan.ts";
import type { Engine } from "./prune.ts";
import { recover } from "./recover.ts";
import { choose } from "./select.ts";
import { needsData, readerOf, statisticsFor } from "./statistics.ts";

/** Removes whole units: scores, counts, masks, surgery, the law, then recovery. */
export const pruneUnits: Engine<UnitPlan> = async (analysis, plan, options, clock) => {
  const { runtime, calibration = null } = options;
  const ignored = matcher(options.ignore ?? []);
  const { units = "all" } = plan;
  const { heads, queryHeads } = headsOf(analysis.coupling);
  const wanted = units === "all" ? null : units === "heads" ? heads : queryHeads;
  const free = analysis.coupling.groups.filter(
    (group) =>
      group.blocked.length === 0 &&
      wanted?.has(group) !== false &&
      !group.members.some(({ parameter }) => ignored(parameter)),
  );
  if (free.length === 0) {
    throw new EspalierError(
      "request",
      "prune",
      `expected at least one group of ${wanted === null ? "units" : "attention heads"} that can be removed, got none.`,
      "Run espalier inspect to see what blocks them.",
    );
  }
  const { chooser, scores } =
    plan.selection === "error"
      ? { chooser: await clock.time("calibrate", () => selectByError(analysis, plan, free, options)), scores: null }
      : await scored(analysis, plan, free, options, clock);
  const { masks, dropped } = await clock.time("allocate", () => choose(analysis, plan, chooser, options));
  step(options, "cut", 0, 1);
  const { types } = analysis.facts;
  const pruned = await clock.time("cut", async () =>
    dropBranches(await cut(analysis.graph, analysis.coupling, analysis.facts, masks), dropped, types),
  );
  step(options, "law", 0, 1);
  const law = await clock.time("law", async () =>
    checkLaw(
      runtime,
      maskBranches(masked(analysis.graph, analysis.coupling, analysis.facts, masks), dropped, types),
      pruned,
      await lawFeeds(analysis, calibration, options.seed),
    ),
  );
  if (!law.passed) {
    throw new EspalierError(
      "law",
      "prune",
      `expected the smaller model to agree with the masked original within ${law.tolerance}, got ${law.relative.toExponential(2)}.`,
      "Nothing was written. Leave groups out with --ignore to find the one that disagrees, and report it.",
    );
  }
  const kept = keptPositions(analysis.coupling, masks);
  const { graph, training } = await recover([foldConstants, ...plan.recovery], analysis, kept, pruned, options, clock);
  return {
    graph,
    kept,
    training,
    law,
    masks: new Map([...masks].map(([group, mask]) => [group.id, mask])),
    layers: layersOf(free, masks, new Set(dropped.map(({ group }) => group))),
    blocked: blockedOf(analysis),
    // Scores from weights alone are the same everywhere.
    nearTies: scores === null || plan.criterion.needs.length === 0 ? 0 : nearTies(scores, masks),
    advice: [],
  };
};

/** Measures what removal costs after refitting. */
async function selectByError(
  analysis: Analysis,
  plan: UnitPlan,
  groups: readonly Group[],
  options: Parameters<Engine<UnitPlan>>[2],
): Promise<Chooser> {
  const { runtime, calibration = null, batchSize } = options;
  if (calibration === null) throw needsData("selection by error");
  const selector = await unitSelector({ ...options, runtime, analysis, groups, calibration, batchSize });
  return byError(analysis, selector, plan);
}

/** Scores every unit by the plan's criterion. */
async function scored(
  analysis: Analysis,
  plan: UnitPlan,
  groups: readonly Group[],
  options: Parameters<Engine<UnitPlan>>[2],
  clock: Parameters<Engine<UnitPlan>>[3],
): Promise<{ readonly chooser: Chooser; readonly scores: ReadonlyMap<Group, Float64Array> }> {
  const byParameter = new Map<string, Matrix>();
  for (const matrix of analysis.matrices) {
    if (!byParameter.has(matrix.parameter)) byParameter.set(matrix.parameter, matrix);
  }
  const statistics = await clock.time("calibrate", () =>
    statisticsFor(analysis, [...byParameter.values()], plan.criterion, options.calibration ?? null, options),
  );
  step(options, "score", 0, 1);
  const scores = await clock.time("score", () =>
    unitScores(analysis.graph, groups, byParameter, plan.criterion, readerOf(statistics), plan.scores),
  );
  return { chooser: byScores(analysis, plan, scores), scores };
}

function layersOf(groups: readonly Group[], masks: ReadonlyMap<Group, Uint8Array>, dropped: ReadonlySet<Group>) {
  return groups.map((group) => {
    const mask = masks.get(group);
    const whole = dropped.has(group) ? 0 : unitCount(group);
    const after = mask === undefined ? whole : mask.reduce((sum, keep) => sum + keep, 0);
    return { name: group.id, kind: "units" as const, before: unitCount(group), after };
  });
}

function blockedOf(analysis: Analysis) {
  return analysis.coupling.groups
    .filter((group) => group.blocked.length > 0)
    .map((group) => ({ name: group.id, reasons: group.blocked }));
}
