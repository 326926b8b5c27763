import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import type { PartPlan } from "../../plans/parts.ts";
import { EspalierError } from "../../tensor/error.ts";
import { countOf } from "../../tensor/selection/select.ts";
import { sizesOf } from "../report.ts";
import type { KeptParts, PartKind, PartScores, PartSet } from "./part-kind.ts";

/** Parts of one set that go together: one, or one of each of its runs. */
interface Tier {
  readonly set: PartSet;
  readonly parts: readonly number[];
  readonly score: number;
}

/** What was chosen. */
export interface ChosenParts {
  readonly kept: KeptParts;
  readonly checkpoint: Checkpoint;
  /** What differs from the share that was asked for, in a sentence. */
  readonly advice: readonly string[];
}

/**
 * Chooses the parts with the least scores: the share that is asked for, or the fewest without which a checkpoint is small enough.
 * Of equal scores those with the lower numbers go. Parts that hold what `ignored` names stay. Throws `request` where
 * more would have to go than can.
 */
export function chooseParts(
  original: Checkpoint,
  kind: Pick<PartKind, "many">,
  sets: readonly PartSet[],
  scores: PartScores,
  { target, scope }: Pick<PartPlan, "target" | "scope">,
  keep: (kept: KeptParts) => Checkpoint,
  ignored: (parameter: string) => boolean = () => false,
): ChosenParts {
  const tiers = new Map(sets.map((set) => [set, tiersOf(set, scores.get(set.name), ignored)]));
  const courses = scope === "global" ? together(sets, tiers) : eachAlike(sets, tiers);
  const left = (count: number): KeptParts => keptWithout(sets, courses.slice(0, count).flat());
  if (target.kind === "sparsity") {
    const { sparsity } = target;
    const wanted =
      scope === "global" ? wantedOf(sets, sparsity) : sets.reduce((sum, one) => sum + wantedOf([one], sparsity), 0);
    const gone =
      scope === "global"
        ? nearest(courses.flat(), wanted)
        : sets.flatMap((set) => nearest(tiers.get(set) ?? [], wantedOf([set], sparsity)));
    const parts = gone.reduce((sum, tier) => sum + tier.parts.length, 0);
    const short = (of: readonly PartSet[]): boolean => {
      const [most, asked] = [mostOf(of, tiers), wantedOf(of, sparsity)];
      return most + Math.max(...of.map(({ runs = 1 }) => runs)) / 2 < asked;
    };
    if (scope === "global" ? short(sets) : sets.some((set) => short([set]))) {
      throw tooMany(sparsity, kind, sets, tiers, scope);
    }
    const kept = keptWithout(sets, gone);
    return { kept, checkpoint: keep(kept), advice: adviceOf(sparsity, kind, sets, { parts, wanted }) };
  }
  const full = sizesOf({ checkpoint: original });
  const fits = (count: number): boolean => {
    const { params, bytes } = sizesOf({ checkpoint: keep(left(count)) });
    return target.kind === "params" ? params <= target.keep * full.params : bytes <= target.max;
  };
  if (!fits(courses.length)) {
    const { params, bytes } = sizesOf({ checkpoint: keep(left(courses.length)) });
    const percent = ((100 * params) / full.params).toFixed(1);
    const [where, got, rest] =
      target.kind === "params"
        ? ["--keep-params", target.keep, `${percent} % of the parameters`]
        : ["--max-bytes", target.max, `${bytes} bytes`];
    const message = `expected a target that is met by removing ${kind.many}, got ${got}.`;
    throw new EspalierError("request", where, message, `Without all that may go ${rest} remain.`);
  }
  let [low, high] = [0, courses.length];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) high = middle;
    else low = middle + 1;
  }
  const kept = left(low);
  return { kept, checkpoint: keep(kept), advice: [] };
}

/** What of a set may go, the first to go first: one part of each run at a time. */
function tiersOf(set: PartSet, scores: Float64Array | undefined, ignored: (name: string) => boolean): readonly Tier[] {
  const { count, least, runs = 1 } = set;
  const length = count / runs;
  const orders = Array.from({ length: runs }, (_, run) =>
    Array.from({ length }, (__, i) => run * length + i)
      .filter((part) => !set.holds(part).some(ignored))
      .toSorted((a, b) => (scores?.[a] ?? 0) - (scores?.[b] ?? 0) || a - b),
  );
  const most = Math.min(Math.floor((count - least) / runs), ...orders.map((order) => order.length));
  return Array.from({ length: Math.max(0, most) }, (_, i) => {
    const parts = orders.flatMap((order) => order.slice(i, i + 1));
    return { set, parts, score: parts.reduce((sum, part) => sum + (scores?.[part] ?? 0), 0) / runs };
  });
}

/** All sets lose one tier at a time. */
function eachAlike(
  sets: readonly PartSet[],
  tiers: ReadonlyMap<PartSet, readonly Tier[]>,
): readonly (readonly Tier[])[] {
  const steps = Math.max(0, ...[...tiers.values()].map(({ length }) => length));
  return Array.from({ length: steps }, (_, i) => sets.flatMap((set) => tiers.get(set)?.slice(i, i + 1) ?? []));
}

/** Tiers of all sets, the least first. A set's own stay in their order, since their scores ascend. */
function together(
  sets: readonly PartSet[],
  tiers: ReadonlyMap<PartSet, readonly Tier[]>,
): readonly (readonly Tier[])[] {
  return sets
    .flatMap((set) => tiers.get(set) ?? [])
    .toSorted((a, b) => a.score - b.score)
    .map((tier) => [tier]);
}

/** Parts that make up a share of sets together. */
function wantedOf(sets: readonly PartSet[], share: number): number {
  return countOf(
    share,
    sets.reduce((sum, { count }) => sum + count, 0),
  );
}

/** Parts of sets that may go. */
function mostOf(sets: readonly PartSet[], tiers: ReadonlyMap<PartSet, readonly Tier[]>): number {
  return sets.flatMap((set) => tiers.get(set) ?? []).reduce((sum, { parts }) => sum + parts.length, 0);
}

/** The first tiers, so many that their parts come nearest to a number. */
function nearest(tiers: readonly Tier[], wanted: number): readonly Tier[] {
  let [parts, count] = [0, 0];
  for (const tier of tiers) {
    if (parts + tier.parts.length / 2 > wanted) break;
    parts += tier.parts.length;
    count++;
  }
  return tiers.slice(0, count);
}

function keptWithout(sets: readonly PartSet[], gone: readonly Tier[]): KeptParts {
  const kept = new Map<string, readonly number[]>();
  for (const set of sets) {
    const out = new Set(gone.filter((tier) => tier.set === set).flatMap(({ parts }) => parts));
    const all = Array.from({ length: set.count }, (_, part) => part);
    if (out.size > 0)
      kept.set(
        set.name,
        all.filter((part) => !out.has(part)),
      );
  }
  return kept;
}

function adviceOf(
  share: number,
  { many }: Pick<PartKind, "many">,
  sets: readonly PartSet[],
  { parts, wanted }: { readonly parts: number; readonly wanted: number },
): readonly string[] {
  const inRuns = sets.find(({ runs = 1 }) => runs > 1);
  if (parts === wanted || inRuns === undefined) return [];
  const { runs = 1, name } = inRuns;
  const each = `each of the ${runs} groups of ${name} has to lose as many`;
  return [`${parts} ${many} went, where a share of ${share} is ${wanted}: ${each}.`];
}

function tooMany(
  share: number,
  { many }: Pick<PartKind, "many">,
  sets: readonly PartSet[],
  tiers: ReadonlyMap<PartSet, readonly Tier[]>,
  scope: PartPlan["scope"],
): EspalierError {
  const shares = (of: readonly PartSet[]): number => mostOf(of, tiers) / of.reduce((sum, { count }) => sum + count, 0);
  const [tightest] = sets.toSorted((a, b) => shares([a]) - shares([b]));
  if (tightest === undefined) return new EspalierError("request", "--sparsity", `expected ${many}, got none.`);
  const most = scope === "global" ? shares(sets) : shares([tightest]);
  const { name, count, because } = tightest;
  const message = `expected at most ${Math.floor(1000 * most) / 1000} of the ${many}, got ${share}.`;
  const hint = `Of the ${count} ${many} of ${name}, ${count - mostOf([tightest], tiers)} have to stay: ${because}.`;
  return new EspalierError("request", "--sparsity", message, hint);
}
