import { EspalierError } from "../tensor/error.ts";

/** One way to treat a group: what it costs and what it loses. An infinite cost or loss forbids it. */
export interface Choice {
  readonly cost: number;
  /** What is minimised. */
  readonly loss: number;
}

export interface Picks {
  /** The index of the chosen option of each group. */
  readonly picks: readonly number[];
  /** Sum of the costs, never above the budget. */
  readonly cost: number;
  readonly loss: number;
  /** True where no selection within the budget loses less; else costs were rounded up to steps of the budget. */
  readonly exact: boolean;
}

/** An option that may be worth choosing, in steps of the budget above the cheapest option of its group. */
interface Candidate {
  readonly index: number;
  readonly steps: number;
  readonly loss: number;
}

/**
 * One option of each group so that the sum of losses is least and the sum of costs at most `budget`: the
 * multiple-choice knapsack by dynamic programming. Exact where all costs are integers whose range, in units of their
 * greatest common divisor, is at most `steps`; else costs count as multiples of a step, rounded up. Time and memory grow
 * with groups times steps. Of equal losses the cheaper option, then the one listed first. Throws `request` where even the
 * cheapest options exceed the budget.
 */
export function multipleChoice(groups: readonly (readonly Choice[])[], budget: number, { steps = 20_000 } = {}): Picks {
  const cheapest = groups.map((group, g) => cheapestOf(group, g));
  const least = cheapest.reduce((sum, cost) => sum + cost, 0);
  if (!(least <= budget)) {
    throw new EspalierError(
      "request",
      "budget",
      `expected at least ${least}, the cost of the cheapest choices, got ${budget}.`,
      "Raise the budget or allow cheaper choices.",
    );
  }
  const { unit, cells, exact } = discretise(groups, cheapest, budget - least, steps);
  let picks: readonly number[];
  let affordable = cells;
  do {
    const candidates = groups.map((group, g) => worthwhile(group, cheapest[g] ?? 0, unit, affordable));
    picks = solve(candidates, affordable);
    // Sums of real costs round, if only in the last bit: without a step less they could exceed the budget.
  } while (total(groups, picks, "cost") > budget && affordable-- > 0);
  picks = improve(groups, picks, budget);
  return { picks, cost: total(groups, picks, "cost"), loss: total(groups, picks, "loss"), exact };
}

function cheapestOf(group: readonly Choice[], g: number): number {
  let cheapest = Number.POSITIVE_INFINITY;
  for (const { cost, loss } of group) {
    if (Number.isNaN(cost) || Number.isNaN(loss) || cost === Number.NEGATIVE_INFINITY) {
      throw new EspalierError(
        "data",
        `group ${g}`,
        `expected costs and losses that are numbers, got ${cost}, ${loss}.`,
      );
    }
    if (loss < Number.POSITIVE_INFINITY) cheapest = Math.min(cheapest, cost);
  }
  if (cheapest < Number.POSITIVE_INFINITY) return cheapest;
  throw new EspalierError("request", `group ${g}`, "expected an option of finite cost and loss, got none.");
}

/** The size of a step and how many of them fit into what the budget leaves. */
function discretise(
  groups: readonly (readonly Choice[])[],
  cheapest: readonly number[],
  left: number,
  steps: number,
): { unit: number; cells: number; exact: boolean } {
  let divisor = 0;
  // More than the dearest options cost is never spent.
  let range = 0;
  for (const [g, group] of groups.entries()) {
    let dearest = 0;
    for (const { cost, loss } of group) {
      const extra = cost - (cheapest[g] ?? 0);
      if (extra === 0 || !(extra <= left) || loss === Number.POSITIVE_INFINITY) continue;
      divisor = greatestCommonDivisor(divisor, Number.isSafeInteger(cost) ? extra : Number.NaN);
      dearest = Math.max(dearest, extra);
    }
    range += dearest;
  }
  const spendable = Math.min(left, range);
  if (divisor === 0) return { unit: 1, cells: 0, exact: true };
  const cells = Math.floor(spendable / divisor);
  if (cells <= steps) return { unit: divisor, cells, exact: true };
  const unit = spendable / steps;
  return unit > 0 ? { unit, cells: steps, exact: false } : { unit: 1, cells: 0, exact: false };
}

/** NaN where an argument is. */
function greatestCommonDivisor(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0 && !Number.isNaN(y)) [x, y] = [y, x % y];
  return Number.isNaN(y) ? Number.NaN : x;
}

/** The options that no cheaper one equals or beats, cheapest first. */
function worthwhile(group: readonly Choice[], cheapest: number, unit: number, cells: number): Candidate[] {
  const affordable = group
    .map(({ cost, loss }, index) => ({ index, steps: Math.ceil((cost - cheapest) / unit), loss, cost }))
    .filter(({ steps, loss }) => steps <= cells && loss < Number.POSITIVE_INFINITY)
    .sort((a, b) => a.steps - b.steps || a.loss - b.loss || a.cost - b.cost || a.index - b.index);
  const out: Candidate[] = [];
  for (const candidate of affordable) {
    if (candidate.loss < (out.at(-1)?.loss ?? Number.POSITIVE_INFINITY)) out.push(candidate);
  }
  return out;
}

/** least[v]: the least loss of the groups so far at a cost of at most v steps. */
function solve(candidates: readonly (readonly Candidate[])[], cells: number): number[] {
  let least = new Float64Array(cells + 1);
  const chosen = candidates.map((options) => {
    const next = new Float64Array(cells + 1).fill(Number.POSITIVE_INFINITY);
    const choice = new Uint16Array(cells + 1);
    options.forEach(({ steps, loss }, o) => {
      for (let v = steps; v <= cells; v++) {
        const sum = (least[v - steps] ?? 0) + loss;
        if (sum < (next[v] ?? 0)) {
          next[v] = sum;
          choice[v] = o;
        }
      }
    });
    least = next;
    return choice;
  });
  // From the first cell that reaches the optimum, so that nothing is spent for no gain.
  let v = least.indexOf(least[cells] ?? 0);
  return candidates
    .map((options, g) => ({ options, choice: chosen[g] }))
    .reverse()
    .map(({ options, choice }) => {
      const option = options[choice?.[v] ?? 0];
      v -= option?.steps ?? 0;
      return option?.index ?? 0;
    })
    .reverse();
}

/** Spends what rounding left over: the best single exchange that still fits, until there is none. */
function improve(groups: readonly (readonly Choice[])[], start: readonly number[], budget: number): number[] {
  const picks = [...start];
  for (;;) {
    const cost = total(groups, picks, "cost");
    let best = { gain: 0, group: -1, index: -1 };
    for (const [group, options] of groups.entries()) {
      const current = options[picks[group] ?? 0];
      if (current === undefined) continue;
      for (const [index, option] of options.entries()) {
        const gain = current.loss - option.loss;
        if (!(gain > best.gain && option.cost - current.cost <= budget - cost)) continue;
        const tried = picks.with(group, index);
        if (total(groups, tried, "cost") <= budget) best = { gain, group, index };
      }
    }
    if (best.group < 0) return picks;
    picks[best.group] = best.index;
  }
}

function total(groups: readonly (readonly Choice[])[], picks: readonly number[], what: "cost" | "loss"): number {
  return picks.reduce((sum, pick, g) => sum + (groups[g]?.[pick]?.[what] ?? 0), 0);
}
