import { keptByImportance } from "../../allocation/by-importance.ts";
import type { UnitAllocationOptions } from "../../allocation/units.ts";
import { branchesOf } from "../../coupling/branches.ts";
import type { Group } from "../../coupling/couple.ts";
import { spansOfGroups } from "../../coupling/within.ts";
import type { Analysis } from "../../models/analysis.ts";
import type { CoarseOptions } from "../../plans/plan.ts";
import { scoreBranches, spansOf } from "../../search/choose-branches.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { SettledOptions } from "../prune.ts";
import { needsData } from "../statistics.ts";

/**
 * What groups keep, by how much the block in which each lies turns what passes it. Throws `request` without data, and where a network
 * has no blocks to compare.
 */
export async function coarseProfile(
  analysis: Analysis,
  groups: readonly Group[],
  { distance, strength }: CoarseOptions,
  options: SettledOptions,
): Promise<NonNullable<UnitAllocationOptions["profile"]>> {
  const { calibration = null } = options;
  if (calibration === null) throw needsData("importance of blocks");
  const { graph, coupling, facts } = analysis;
  const spans = spansOf(branchesOf(graph, coupling, facts), 2);
  const spanOf = spansOfGroups(graph, groups, spans);
  if (spanOf.size === 0) {
    const message = "expected units inside residual blocks, got none.";
    throw new EspalierError("request", "importance of blocks", message, "Give all groups the same share instead.");
  }
  const influence = { distance, tokens: "all", excludeFirst: false } as const;
  const scored = await scoreBranches({ ...options, analysis, calibration, influence }, spans, "influence", false);
  // Blocks without such units do not count.
  const used = [...new Set(spanOf.values())];
  const importance = used.map((at) => scored[at]?.score ?? 0);
  return (kept) => {
    const shares = keptByImportance(importance, kept, strength);
    return new Map([...spanOf].map(([group, at]) => [group, shares[used.indexOf(at)] ?? kept]));
  };
}
