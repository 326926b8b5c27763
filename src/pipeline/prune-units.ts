import type { Alike } from "../coupling/alike.ts";
import { type Group, unitCount } from "../coupling/couple.ts";
import { headsOf } from "../coupling/heads.ts";
import { innerOf } from "../coupling/inner.ts";
import type { Graph } from "../graph/graph.ts";
import { nearTies } from "../masks/near-ties.ts";
import type { Analysis } from "../models/analysis.ts";
import { matcher } from "../plans/ignore.ts";
import type { UnitPlan } from "../plans/plan.ts";
import { foldConstants } from "../recovery/fold.ts";
import { unitSelector } from "../search/select-units.ts";
import { dropBranches, maskBranches } from "../surgery/bypass.ts";
import { cut } from "../surgery/cut.ts";
import { keptPositions } from "../surgery/kept.ts";
import { masked } from "../surgery/masked.ts";
import { EspalierError } from "../tensor/error.ts";
import { step } from "../tensor/progress.ts";
import { choose } from "./choosing/choose.ts";
import { byError, byScores, type Chooser } from "./choosing/chooser.ts";
import { coarseProfile } from "./choosing/coarse.ts";
import { freeGroups, scoreUnits } from "./choosing/score-units.ts";
import { holdToLaw } from "./measuring/hold-to-law.ts";
import type { PhaseClock } from "./measuring/phase-clock.ts";
import type { Engine, SettledOptions } from "./prune.ts";
import { recover } from "./recover.ts";
import { needsData } from "./statistics.ts";

/** Removes whole units: scores, counts, masks, surgery, the law, then recovery. */
export const pruneUnits: Engine<UnitPlan> = async (analysis, plan, options, clock) => {
  const ignored = matcher(options.ignore ?? []);
  const { units = "all" } = plan;
  const wanted = units === "all" ? null : wantedGroups(analysis, units);
  const withheld = new Map(options.withhold?.(analysis.coupling) ?? []);
  const able = freeGroups(analysis, ignored).filter((group) => wanted?.has(group) !== false && !withheld.has(group));
  const alike = options.alike?.(analysis.coupling) ?? [];
  const fixed = heldByOthers(alike, new Set(able));
  for (const [group, reason] of fixed) withheld.set(group, reason);
  const free = able.filter((group) => !fixed.has(group));
  if (free.length === 0) {
    throw new EspalierError(
      "request",
      "prune",
      `expected at least one group of ${unitNames[units]} that can be removed, got none.`,
      "Run espalier inspect to see what blocks them.",
    );
  }
  const { masks, dropped, scores } = await chosenUnits(analysis, plan, free, { ...options, alike: () => alike }, clock);
  options.beforeCut?.(analysis.coupling, masks);
  step(options, "cut", 0, 1);
  const { types } = analysis.facts;
  const pruned = await clock.time("cut", async () =>
    dropBranches(await cut(analysis.graph, analysis.coupling, analysis.facts, masks), dropped, types),
  );
  const reference = (): Graph =>
    maskBranches(masked(analysis.graph, analysis.coupling, analysis.facts, masks), dropped, types);
  const law = await holdToLaw(analysis, reference, pruned, options, clock);
  const kept = keptPositions(analysis.coupling, masks);
  // What a recovery makes up for itself must not be made up for twice.
  const folded = plan.recovery.some(({ foldsConstants = false }) => foldsConstants);
  const recoveries = folded ? plan.recovery : [foldConstants, ...plan.recovery];
  const { graph, training, advice } = await recover(recoveries, analysis, kept, pruned, options, clock);
  return {
    graph,
    kept,
    training,
    law,
    masks: new Map([...masks].map(([group, mask]) => [group.id, mask])),
    layers: layersOf(free, masks, new Set(dropped.map(({ group }) => group))),
    blocked: blockedOf(analysis, withheld),
    // Scores from weights alone are the same everywhere.
    nearTies: scores === null || plan.criterion.needs.length === 0 ? 0 : nearTies(scores, masks),
    advice,
  };
};

const unitNames: Readonly<Record<NonNullable<UnitPlan["units"]>, string>> = {
  all: "units",
  heads: "attention heads",
  "query-heads": "attention heads",
  neurons: "units inside residual branches",
  inner: "units inside residual branches",
};

function wantedGroups(
  { graph, coupling, facts }: Analysis,
  units: Exclude<UnitPlan["units"], "all" | undefined>,
): ReadonlySet<Group> {
  if (units === "heads") return headsOf(coupling).heads;
  if (units === "query-heads") return headsOf(coupling).queryHeads;
  const { heads, neurons } = innerOf(graph, coupling, facts);
  return units === "neurons" ? neurons : new Set([...heads, ...neurons]);
}

/** Groups that have to stay whole since others that keep as many do, or since no smaller number will do. */
function heldByOthers(alike: readonly Alike[], able: ReadonlySet<Group>): ReadonlyMap<Group, string> {
  const held = new Map<Group, string>();
  for (const { groups, counts } of alike) {
    const whole = groups.find((group) => !able.has(group));
    if (whole === undefined && counts.length > 1) continue;
    const reason =
      whole === undefined
        ? "any smaller number of units would break a rule of what is to load it"
        : `it keeps as many units as ${whole.id}, which stays whole`;
    for (const group of groups) if (able.has(group)) held.set(group, reason);
  }
  return held;
}

/** Which units go: those that are given, else those that the plan chooses; and the scores by which it did. */
async function chosenUnits(
  analysis: Analysis,
  plan: UnitPlan,
  free: readonly Group[],
  options: SettledOptions,
  clock: PhaseClock,
) {
  if (plan.given !== undefined) return { masks: givenMasks(free, plan.given), dropped: [], scores: null };
  const { calibration = null } = options;
  const scores =
    plan.selection === "error"
      ? null
      : await scoreUnits(analysis, free, plan.criterion, calibration, { ...options, scores: plan.scores }, clock);
  const { coarse } = plan;
  const profile =
    coarse === undefined
      ? undefined
      : await clock.time("calibrate", () => coarseProfile(analysis, free, coarse, options));
  const chooser =
    scores === null
      ? await clock.time("calibrate", () => selectByError(analysis, plan, free, options))
      : byScores(analysis, plan, scores, {
          alike: options.alike?.(analysis.coupling) ?? [],
          ...(profile === undefined ? {} : { profile }),
        });
  return { ...(await clock.time("allocate", () => choose(analysis, plan, chooser, options))), scores };
}

/** Masks by the ids of groups. Throws `request` for a group that cannot be pruned, or a mask of another size. */
function givenMasks(free: readonly Group[], given: ReadonlyMap<string, Uint8Array>): ReadonlyMap<Group, Uint8Array> {
  const byId = new Map(free.map((group) => [group.id, group]));
  const masks = new Map<Group, Uint8Array>();
  for (const [id, mask] of given) {
    const group = byId.get(id);
    if (group === undefined || mask.length !== unitCount(group)) {
      const got = group === undefined ? "a mask of another group" : `a mask of ${mask.length} units`;
      const expected = group === undefined ? "groups that can be pruned" : `${unitCount(group)} units`;
      const hint = "Masks hold for the graph that they were chosen in.";
      throw new EspalierError("request", `group ${id}`, `expected ${expected}, got ${got}.`, hint);
    }
    checkBalance(group, mask);
    masks.set(group, mask);
  }
  return masks;
}

/** Throws `request` where a mask keeps no unit, or more of one set than of another: no axis could hold these. */
function checkBalance({ id, size, sets }: Group, mask: Uint8Array): void {
  const kept = Array.from({ length: sets }, (_, set) =>
    mask.subarray(set * size, (set + 1) * size).reduce((sum, keep) => sum + keep, 0),
  );
  const [first = 0] = kept;
  if (first > 0 && kept.every((count) => count === first)) return;
  const expected = sets === 1 ? "at least one unit that stays" : `as many units that stay in each of its ${sets} sets`;
  throw new EspalierError("request", `group ${id}`, `expected ${expected}, got ${kept.slice(0, 8).join(", ")}.`);
}

/** Measures what removal costs after refitting. */
async function selectByError(
  analysis: Analysis,
  plan: UnitPlan,
  groups: readonly Group[],
  options: SettledOptions,
): Promise<Chooser> {
  const { runtime, calibration = null, batchSize } = options;
  if (calibration === null) throw needsData("selection by error");
  const selector = await unitSelector({ ...options, runtime, analysis, groups, calibration, batchSize });
  return byError(analysis, selector, plan);
}

function layersOf(groups: readonly Group[], masks: ReadonlyMap<Group, Uint8Array>, dropped: ReadonlySet<Group>) {
  return groups.map((group) => {
    const mask = masks.get(group);
    const whole = dropped.has(group) ? 0 : unitCount(group);
    const after = mask === undefined ? whole : mask.reduce((sum, keep) => sum + keep, 0);
    return { name: group.id, kind: "units" as const, before: unitCount(group), after };
  });
}

function blockedOf({ coupling }: Analysis, withheld: ReadonlyMap<Group, string>) {
  return coupling.groups.flatMap((group) => {
    const reason = withheld.get(group);
    const reasons = reason === undefined ? group.blocked : [...group.blocked, reason];
    return reasons.length === 0 ? [] : [{ name: group.id, reasons }];
  });
}
