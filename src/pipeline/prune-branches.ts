import { branchesOf } from "../coupling/branches.ts";
import type { Graph } from "../graph/graph.ts";
import { matcher } from "../plans/ignore.ts";
import type { BranchPlan } from "../plans/plan.ts";
import { chooseBranches, looksAtBranches, scoreBranches, spansOf } from "../search/choose-branches.ts";
import { dropBranches, maskBranches } from "../surgery/bypass.ts";
import { keptPositions } from "../surgery/kept.ts";
import { EspalierError } from "../tensor/error.ts";
import { holdToLaw } from "./measuring/hold-to-law.ts";
import type { Engine } from "./prune.ts";
import { recover } from "./recover.ts";
import { needsData } from "./statistics.ts";

/** Removes whole residual branches: scores, choice, surgery, the law, then recovery. */
export const pruneBranches: Engine<BranchPlan> = async (analysis, plan, options, clock) => {
  const { runtime, calibration = null } = options;
  const { graph, coupling, facts } = analysis;
  if (calibration === null && looksAtBranches(plan.criterion.id)) throw needsData(plan.criterion.id);
  if (calibration === null && plan.means) throw needsData("recovery bias");
  const ignored = matcher(options.ignore ?? []);
  const branches = branchesOf(graph, coupling, facts).filter(
    ({ sum, bypass, axis, features }) =>
      !gone(graph, dropBranches(graph, [{ sum, bypass, axis, mean: new Float64Array(features) }], facts.types)).some(
        ignored,
      ),
  );
  if (branches.length === 0) {
    throw new EspalierError(
      "request",
      "--granularity layer",
      "expected at least one residual branch that can be bypassed, got none.",
      "Remove channels instead: --granularity channel.",
    );
  }
  const scored = await clock.time("score", () =>
    scoreBranches(
      { ...options, runtime, analysis, calibration, influence: plan.criterion },
      spansOf(branches, plan.span ?? 1),
      plan.criterion.id,
      plan.means,
    ),
  );
  const chosen = chooseBranches(analysis, scored, plan.target, plan);
  const dropped = chosen.flatMap((each) => each.dropped);
  const small = dropBranches(graph, dropped, facts.types);
  const law = await holdToLaw(analysis, () => maskBranches(graph, dropped, facts.types), small, options, clock);
  const kept = keptPositions(coupling, new Map());
  return {
    ...(await recover(plan.recovery, analysis, kept, small, options, clock)),
    kept,
    law,
    masks: new Map(),
    layers: branches.map((branch) => ({
      name: branch.branch,
      kind: "branches" as const,
      before: 1,
      after: chosen.some((each) => each.branches.includes(branch)) ? 0 : 1,
    })),
    blocked: [],
    nearTies: 0,
  };
};

/** Parameters that a graph has and a smaller one has not. */
function gone(graph: Graph, small: Graph): readonly string[] {
  return [...graph.constants.keys()].filter((name) => !small.constants.has(name));
}
