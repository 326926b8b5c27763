import { meets, passes, type Target } from "../allocation/target.ts";
import type { Cost } from "../cost/cost.ts";
import type { Branch } from "../coupling/branches.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import type { Graph } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { fidelity } from "../stats/answers/fidelity.ts";
import { branchStatistics, type InfluenceOptions } from "../stats/branches.ts";
import { type DroppedBranch, dropBranches } from "../surgery/bypass.ts";
import { EspalierError } from "../tensor/error.ts";
import { type Job, step } from "../tensor/progress.ts";
import { random } from "../tensor/random.ts";
import { countOf } from "../tensor/selection/select.ts";
import { bytesOf } from "../tensor/tensor.ts";

/**
 * What decides which branches go: how little they turn what passes them, what dropping each alone costs, chance, or their place,
 * those nearest to the outputs first.
 */
export const branchCriteria = ["influence", "error", "random", "last"] as const;
export type BranchCriterion = (typeof branchCriteria)[number];

/** True for criteria of branches that look at inputs. */
export function looksAtBranches(criterion: BranchCriterion): boolean {
  return criterion === "influence" || criterion === "error";
}

export interface BranchContext extends Job {
  readonly runtime: Runtime;
  readonly analysis: Analysis;
  /** Null where neither the criterion nor the means need it. */
  readonly calibration: IndexedDataset | null;
  readonly batchSize: number;
  readonly seed: number;
  /** How influence is measured. */
  readonly influence?: Partial<InfluenceOptions>;
}

/** Branches that go together, with what they are worth; a larger score means keep. */
export interface ScoredSpan {
  /** In their order. */
  readonly branches: readonly Branch[];
  readonly score: number;
  readonly dropped: readonly DroppedBranch[];
}

/** Branches behind each other as spans of so many, from the first on; what is left over at an end is a span of its own. */
export function spansOf(branches: readonly Branch[], length: number): readonly (readonly Branch[])[] {
  const spans: Branch[][] = [];
  for (const branch of branches) {
    const last = spans.at(-1);
    if (last !== undefined && last.length < length && last.at(-1)?.sum === branch.bypass) last.push(branch);
    else spans.push([branch]);
  }
  return spans;
}

/** Scores spans of branches. `means`: what a branch gave on average takes its place, else nothing does. */
export async function scoreBranches(
  context: BranchContext,
  spans: readonly (readonly Branch[])[],
  criterion: BranchCriterion,
  means: boolean,
): Promise<readonly ScoredSpan[]> {
  const { runtime, analysis, calibration, batchSize, seed } = context;
  // What a span does to what passes it is measured like what one branch does.
  const whole = new Map(spans.map((span) => [span, over(span)]));
  const single = spans.filter(({ length }) => length > 1).flat();
  const measured =
    calibration === null
      ? null
      : await branchStatistics(runtime, analysis, [...whole.values(), ...(means ? single : [])], calibration, {
          ...context,
          ...context.influence,
        });
  const chance = random(seed, "branches");
  const scored: ScoredSpan[] = [];
  for (const [i, branches] of spans.entries()) {
    const own = whole.get(branches);
    const found = own === undefined ? undefined : measured?.get(own);
    const dropped = branches.map((branch) => {
      const { sum, bypass, axis, features } = branch;
      const mean = (means ? measured?.get(branch)?.mean : undefined) ?? new Float64Array(features);
      return { sum, bypass, axis, mean };
    });
    let score = criterion === "random" ? chance.uniform() : criterion === "last" ? -i : (found?.influence ?? 0);
    if (criterion === "error" && calibration !== null) {
      step(context, "drop each branch", i, spans.length, own?.sum);
      const small = dropBranches(analysis.graph, dropped, analysis.facts.types);
      const quiet = { batchSize, ...(context.signal === undefined ? {} : { signal: context.signal }) };
      const { kl, relativeError } = await fidelity(runtime, analysis.graph, small, calibration, quiet);
      score = kl ?? relativeError ** 2;
    }
    scored.push({ branches, score, dropped });
  }
  return scored;
}

/** A span as one branch: from what passes its first to the sum of its last. One branch is itself. */
function over(span: readonly Branch[]): Branch {
  const [first] = span;
  const last = span.at(-1);
  if (first === undefined || last === undefined) throw new Error("a span without branches");
  return first === last ? first : { ...last, bypass: first.bypass };
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

export interface ChoiceOptions {
  /** Spans that stay at both ends of the network, from the inputs and from the outputs; none unless told. */
  readonly protect?: readonly [first: number, last: number];
  /** "down": the most that do not pass the target, where whole spans do not meet it; "up", the fewest that do, unless told. */
  readonly round?: "up" | "down";
}

/** The fewest branches, those with the least scores first, without which the target is met. Throws `request`. */
export function chooseBranches(
  analysis: Analysis,
  scored: readonly ScoredSpan[],
  target: Target,
  { protect: [first, last] = [0, 0], round = "up" }: ChoiceOptions = {},
): readonly ScoredSpan[] {
  const free = scored.slice(first, Math.max(first, scored.length - last));
  const order = free.toSorted((a, b) => a.score - b.score);
  if (target.kind === "sparsity") {
    const share = target.sparsity * scored.length;
    return order.slice(0, round === "up" ? countOf(target.sparsity, scored.length) : Math.floor(share + 1e-9));
  }
  const full = analysis.cost.total();
  let cost = full;
  for (let count = 0; count <= order.length; count++) {
    const chosen = order.slice(0, count);
    const dropped = chosen.flatMap((each) => each.dropped);
    cost = costWithout(analysis, dropBranches(analysis.graph, dropped, analysis.facts.types));
    if (round === "up" && meets(target, cost, full)) return chosen;
    if (round === "down" && passes(target, cost, full)) return order.slice(0, count - 1);
  }
  if (round === "down") return order;
  const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;
  throw new EspalierError(
    "request",
    "target",
    "expected one that can be met by dropping residual branches, got less than what is left without all of them.",
    `Without any of the ${order.length} branches ${percent(cost.macs, full.macs)} of the MACs and ${percent(cost.params, full.params)} of the parameters remain.`,
  );
}
