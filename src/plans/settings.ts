import { criterionNamed } from "../criteria/registry.ts";
import { type Factors, factorNames } from "../ops/factoring.ts";
import { branchCriteria } from "../search/choose-branches.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import type { Learning } from "./learning.ts";
import { layers, ranks, recoveryNamed, sparse, structured } from "./methods.ts";
import type { Plan, WeightPlan } from "./plan.ts";

type SweepOrder = NonNullable<NonNullable<WeightPlan["sweeping"]>["order"]>;

/** What decides a plan, in the words of the command line and of recipes. */
export interface Settings {
  readonly granularity?: string | undefined;
  readonly criterion?: string | undefined;
  readonly recover?: string | undefined;
  /** How recoveries that train do it. */
  readonly learning?: Learning | undefined;
  /** How much each weight matrix loses: the same share, by its shape (ERK), or by its scores (LAMP). */
  readonly allocation?: WeightPlan["profile"] | undefined;
  /** Steps in which weights go, each by scores of what is left then. */
  readonly rounds?: number | undefined;
  /** Order in which a sweep takes the columns of a matrix: as they lie, or those with the largest inputs first. */
  readonly order?: SweepOrder | undefined;
  /** Sparsity of single weight matrices, by name. */
  readonly table?: ReadonlyMap<string, number> | undefined;
  readonly scope?: "group" | "row" | "tensor" | "global" | undefined;
  readonly roundTo?: number | "auto" | undefined;
  readonly sparsity?: number | undefined;
  readonly keepMacs?: number | undefined;
  readonly keepParams?: number | undefined;
  readonly maxBytes?: number | undefined;
  readonly maxLatency?: number | undefined;
  readonly keepLatency?: number | undefined;
}

/** The criterion of single weights that chooses while it sweeps, what stays making up for what goes (SparseGPT). */
const sweepName = "sparsegpt";

/** The plan that the settings spell out. Throws `request` for a setting that the granularity has no use for. */
export function planOf(settings: Settings, seed: number): Plan {
  const { scope, roundTo, sparsity, keepMacs, keepParams, maxBytes, maxLatency, keepLatency } = settings;
  checkOrder(settings);
  if (settings.granularity === "layer") return layerPlanOf(settings);
  const factors = factorsOf(settings.granularity);
  if (factors !== null) return rankPlanOf(settings, factors);
  const byError = settings.criterion === "error";
  const swept = settings.criterion === sweepName;
  const criterion = criterionNamed(byError || swept ? "l2" : (settings.criterion ?? "l2"), { seed }, [
    "error",
    sweepName,
  ]);
  const recovery = recoveryNamed(settings.recover ?? (byError ? "lsq" : "none"), settings.learning);
  const granularity = settings.granularity ?? "channel";
  const { allocation, table, rounds, order } = settings;
  if (granularity !== "channel" && granularity !== "head" && granularity !== "query-head") {
    if (allocation !== undefined && scope === "global") {
      throw misplaced("--scope global", `${granularity} --allocation ${allocation}`, "A global scope decides it all.");
    }
    if (byError) throw misplaced("--criterion error", granularity, "Use a criterion that scores weights.");
    if (scope === "group") throw misplaced("--scope group", granularity, "Use row, tensor or global.");
    const others = {
      "--keep-macs": keepMacs,
      "--keep-params": keepParams,
      "--max-bytes": maxBytes,
      "--max-latency": maxLatency,
      "--keep-latency": keepLatency,
    };
    refuse({ ...others, "--round-to": roundTo }, granularity, "Zeros change none of these; use --sparsity.");
    return sparse({
      granularity,
      criterion,
      recovery,
      ...(swept ? { sweep: "choose" as const } : {}),
      ...(order === undefined ? {} : { sweeping: { order } }),
      ...(scope === undefined ? {} : { scope }),
      ...(sparsity === undefined ? {} : { sparsity }),
      ...(allocation === undefined ? {} : { profile: allocation }),
      ...(table === undefined ? {} : { table }),
      ...(rounds === undefined ? {} : { rounds }),
    });
  }
  if (swept)
    throw misplaced(`--criterion ${sweepName}`, granularity, "Use --granularity weight, or a pattern such as 2:4.");
  if (rounds !== undefined) throw misplaced("--rounds", granularity, "Write several steps into a recipe instead.");
  if (allocation !== undefined || table !== undefined) {
    const hint = "It divides weights over matrices; units compete with --scope global.";
    throw misplaced(allocation === undefined ? "table" : `--allocation ${allocation}`, granularity, hint);
  }
  if (scope === "row" || scope === "tensor") throw misplaced(`--scope ${scope}`, granularity, "Use group or global.");
  return structured({
    granularity,
    criterion,
    recovery,
    roundTo: roundTo ?? "auto",
    sparsity,
    keepMacs,
    keepParams,
    maxBytes,
    maxLatency,
    keepLatency,
    selection: byError ? "error" : "scores",
    ...(scope === undefined ? {} : { scope }),
  });
}

/** Throws `request` for an order of columns where nothing is swept, or a pattern needs neighbours. */
function checkOrder({ order, criterion, granularity = "weight" }: Settings): void {
  if (order === undefined) return;
  const fail = (got: string, hint: string): EspalierError =>
    new EspalierError("request", `--order ${order}`, `expected ${got}.`, hint);
  if (criterion !== sweepName) {
    throw fail(`a sweep, got --criterion ${criterion ?? "l2"}`, `Only ${sweepName} goes column by column.`);
  }
  if (order === "activation" && granularity !== "weight") {
    throw fail(`--granularity weight, got ${granularity}`, "A pattern groups neighbours, which another order parts.");
  }
}

/** A plan that drops residual branches. */
function layerPlanOf(settings: Settings): Plan {
  const { criterion = "influence", recover = "none", scope, roundTo, allocation, rounds, table } = settings;
  const known = branchCriteria.find((name) => name === criterion);
  if (known === undefined) {
    throw misplaced(`--criterion ${criterion}`, "layer", `Use one of ${branchCriteria.join(", ")}.`);
  }
  const others = { "--scope": scope, "--round-to": roundTo, "--allocation": allocation, "--rounds": rounds, table };
  refuse(others, "layer", "A branch goes as a whole.");
  // A branch that went has no consumer whose bias could make up for it: its mean goes into the sum itself.
  const means = (name: string): boolean => name === "bias";
  const names = recover.split("+");
  recoveryNamed(recover, settings.learning);
  return layers({
    ...settings,
    criterion: known,
    means: names.some(means),
    recovery: recoveryNamed(names.filter((name) => !means(name)).join("+") || "none", settings.learning),
  });
}

/** How a granularity of ranks lays kernels out; null for other granularities. */
function factorsOf(granularity: string | undefined): Factors | null {
  const [head, factors = "channel"] = granularity?.split(":") ?? [];
  if (head !== "rank") return null;
  const found = factorNames.find((name) => name === factors);
  if (found !== undefined) return found;
  const hint = didYouMean(factors, factorNames);
  const message = `expected rank with one of ${factorNames.join(", ")}.`;
  throw new EspalierError("request", `--granularity ${granularity}`, message, hint);
}

/** A plan that takes layers apart. */
function rankPlanOf(settings: Settings, factors: Factors): Plan {
  const { criterion, recover = "none", scope, roundTo, allocation, rounds, table } = settings;
  const others = { "--scope": scope, "--round-to": roundTo, "--allocation": allocation, "--rounds": rounds, table };
  refuse({ "--criterion": criterion, ...others }, "rank", "All layers keep the same share of their energy.");
  if (recover.split("+").includes("bias")) {
    throw misplaced("--recover bias", "rank", "Layers that come apart lose no inputs; repair by lsq.");
  }
  return ranks({ ...settings, factors, recovery: recoveryNamed(recover, settings.learning) });
}

/** Throws `request` where a setting was given that a granularity has no use for. */
function refuse(given: Readonly<Record<string, unknown>>, granularity: string, hint: string): void {
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) throw misplaced(name, granularity, hint);
  }
}

function misplaced(what: string, granularity: string, hint: string): EspalierError {
  const message = `expected an option for --granularity ${granularity}, got another's.`;
  return new EspalierError("request", what, message, hint);
}

/** What a name of a method of a comparison may start with, and what that sets. */
const prefixes: readonly (readonly [string, Settings])[] = [
  ["global-", { scope: "global" }],
  ["erk-", { allocation: "erk" }],
  ["lamp-", { allocation: "lamp" }],
];

/**
 * A method of a comparison: `l2`, `global-l2`, `erk-l1`, `wanda+lsq`, `l2+lsq+norm`. Throws `request` for names that are not known, or that
 * the granularity has no use for.
 */
export function contender(name: string, seed: number, granularity?: string): Contender {
  const [head = "", ...repairs] = name.split("+");
  const [prefix, set] = prefixes.find(([start]) => head.startsWith(start)) ?? ["", {}];
  const settings: Settings = {
    criterion: head.slice(prefix.length),
    recover: repairs.length === 0 ? undefined : repairs.join("+"),
    ...set,
  };
  planOf({ ...settings, sparsity: granularity?.includes(":") === true ? undefined : 0, granularity }, seed);
  return {
    name,
    plan: (amount) => planOf({ ...settings, ...amount }, seed),
  };
}

/** How much goes, in which parts and steps. */
export type Amount = Pick<Settings, "sparsity" | "keepMacs" | "keepParams" | "granularity" | "roundTo">;

/** What a comparison looks at unless told: shares of the work, of weights where zeros save none, or what a pattern says. */
export function usualAmounts(granularity?: string): readonly Amount[] {
  const plan = planOf({ granularity, sparsity: granularity?.includes(":") === true ? undefined : 0 }, 0);
  if (plan.kind !== "weights") return [{ keepMacs: 0.75 }, { keepMacs: 0.5 }];
  return plan.pattern.kind === "n:m" ? [{}] : [{ sparsity: 0.5 }, { sparsity: 0.75 }];
}

/** One line of a comparison. */
export interface Contender {
  readonly name: string;
  plan(amount: Amount): Plan;
}
