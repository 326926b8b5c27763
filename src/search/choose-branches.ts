import { meets, type Target } from "../allocation/target.ts";
import type { Cost } from "../cost/cost.ts";
import type { Branch } from "../coupling/branches.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import type { Graph } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { branchStatistics } from "../stats/branches.ts";
import { fidelity } from "../stats/fidelity.ts";
import { type DroppedBranch, dropBranches } from "../surgery/bypass.ts";
import { EspalierError } from "../tensor/error.ts";
import { type Job, step } from "../tensor/progress.ts";
import { random } from "../tensor/random.ts";
import { countOf } from "../tensor/select.ts";
import { bytesOf } from "../tensor/tensor.ts";

/** What decides which branches go: how little they turn what passes them, what dropping each alone costs, or chance. */
export const branchCriteria = ["influence", "error", "random"] as const;
export type BranchCriterion = (typeof branchCriteria)[number];

export interface BranchContext extends Job {
  readonly runtime: Runtime;
  readonly analysis: Analysis;
  /** Null where neither the criterion nor the means need it. */
  readonly calibration: IndexedDataset | null;
  readonly batchSize: number;
  readonly seed: number;
}

/** A branch with what it is worth; a larger score means keep. */
export interface ScoredBranch {
  readonly branch: Branch;
  readonly score: number;
  readonly dropped: DroppedBranch;
}

/** Scores branches. `means`: what a branch gave on average takes its place, else nothing does. */
export async function scoreBranches(
  context: BranchContext,
  branches: readonly Branch[],
  criterion: BranchCriterion,
  means: boolean,
): Promise<readonly ScoredBranch[]> {
  const { runtime, analysis, calibration, batchSize, seed } = context;
  const measured =
    calibration === null ? null : await branchStatistics(runtime, analysis, branches, calibration, context);
  const chance = random(seed, "branches");
  const scored: ScoredBranch[] = [];
  for (const [i, branch] of branches.entries()) {
    const { sum, bypass, axis, features } = branch;
    const found = measured?.get(branch);
    const mean = (means ? found?.mean : undefined) ?? new Float64Array(features);
    const dropped = { sum, bypass, axis, mean };
    let score = criterion === "random" ? chance.uniform() : (found?.influence ?? 0);
    if (criterion === "error" && calibration !== null) {
      step(context, "drop each branch", i, branches.length, sum);
      const small = dropBranches(analysis.graph, [dropped], analysis.facts.types);
      const quiet = { batchSize, ...(context.signal === undefined ? {} : { signal: context.signal }) };
      const { kl, relativeError } = await fidelity(runtime, analysis.graph, small, calibration, quiet);
      score = kl ?? relativeError ** 2;
    }
    scored.push({ branch, score, dropped });
  }
  return scored;
}

/** Cost of what is left of a graph. */
function costWithout(analysis: Analysis, graph: Graph): Cost {
  const live = new Set(graph.nodes.map(({ outputs }) => outputs[0]));
  let params = 0;
  let macs = 0;
  for (const cost of analysis.cost.byNode()) {
    if (!live.has(cost.node.outputs[0])) continue;
    params += cost.params;
    macs += cost.macs;
  }
  let bytes = 0;
  for (const ref of graph.constants.values()) bytes += bytesOf(ref);
  return { params, macs, bytes };
}

/** The fewest branches, those with the least scores first, without which the target is met. Throws `request`. */
export function chooseBranches(
  analysis: Analysis,
  scored: readonly ScoredBranch[],
  target: Target,
): readonly ScoredBranch[] {
  const order = scored.toSorted((a, b) => a.score - b.score);
  if (target.kind === "sparsity") return order.slice(0, countOf(target.sparsity, order.length));
  const full = analysis.cost.total();
  let cost = full;
  for (let count = 0; count <= order.length; count++) {
    const chosen = order.slice(0, count);
    const dropped = chosen.map((each) => each.dropped);
    cost = costWithout(analysis, dropBranches(analysis.graph, dropped, analysis.facts.types));
    if (meets(target, cost, full)) return chosen;
  }
  const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;
  throw new EspalierError(
    "request",
    "target",
    "expected one that can be met by dropping residual branches, got less than what is left without all of them.",
    `Without any of the ${order.length} branches ${percent(cost.macs, full.macs)} of the MACs and ${percent(cost.params, full.params)} of the parameters remain.`,
  );
}
