import { criterionNamed } from "../criteria/registry.ts";
import { EspalierError } from "../tensor/error.ts";
import { recoveryNamed, sparse, structured } from "./methods.ts";
import type { Plan } from "./plan.ts";

/** What decides a plan, in the words of the command line and of recipes. */
export interface Settings {
  readonly granularity?: string | undefined;
  readonly criterion?: string | undefined;
  readonly recover?: string | undefined;
  readonly scope?: "group" | "row" | "tensor" | "global" | undefined;
  readonly roundTo?: number | "auto" | undefined;
  readonly sparsity?: number | undefined;
  readonly keepMacs?: number | undefined;
  readonly keepParams?: number | undefined;
  readonly maxBytes?: number | undefined;
  readonly maxLatency?: number | undefined;
  readonly keepLatency?: number | undefined;
}

/** The plan that the settings spell out. Throws `request` for a setting that the granularity has no use for. */
export function planOf(settings: Settings, seed: number): Plan {
  const { scope, roundTo, sparsity, keepMacs, keepParams, maxBytes, maxLatency, keepLatency } = settings;
  const byError = settings.criterion === "error";
  const criterion = criterionNamed(byError ? "l2" : (settings.criterion ?? "l2"), { seed });
  const recovery = recoveryNamed(settings.recover ?? (byError ? "lsq" : "none"));
  const granularity = settings.granularity ?? "channel";
  if (granularity !== "channel") {
    if (byError) throw misplaced("--criterion error", granularity, "Use a criterion that scores weights.");
    if (scope === "group") throw misplaced("--scope group", granularity, "Use row, tensor or global.");
    const others = {
      "--keep-macs": keepMacs,
      "--keep-params": keepParams,
      "--max-bytes": maxBytes,
      "--max-latency": maxLatency,
      "--keep-latency": keepLatency,
    };
    for (const [name, value] of Object.entries({ ...others, "--round-to": roundTo })) {
      if (value !== undefined) throw misplaced(name, granularity, "Zeros change none of these; use --sparsity.");
    }
    return sparse({
      granularity,
      criterion,
      recovery,
      ...(scope === undefined ? {} : { scope }),
      ...(sparsity === undefined ? {} : { sparsity }),
    });
  }
  if (scope === "row" || scope === "tensor") throw misplaced(`--scope ${scope}`, granularity, "Use group or global.");
  return structured({
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

function misplaced(what: string, granularity: string, hint: string): EspalierError {
  const message = `expected an option for --granularity ${granularity}, got another's.`;
  return new EspalierError("request", what, message, hint);
}

/** A method of a comparison: `l2`, `global-l2`, `wanda+lsq`. Throws `request` for names that are not known. */
export function contender(name: string, seed: number): Contender {
  const [head = "", ...repairs] = name.split("+");
  if (repairs.length > 1) {
    throw new EspalierError("request", `--methods ${name}`, "expected at most one repair, such as l2+lsq.");
  }
  const global = head.startsWith("global-");
  const settings: Settings = {
    criterion: global ? head.slice("global-".length) : head,
    recover: repairs[0],
    ...(global ? { scope: "global" } : {}),
  };
  planOf({ ...settings, sparsity: 0 }, seed);
  return {
    name,
    plan: (amount) =>
      planOf({ ...settings, roundTo: amount.granularity === undefined ? 1 : undefined, ...amount }, seed),
  };
}

/** How much goes, and in which parts. */
export type Amount = Pick<Settings, "sparsity" | "keepMacs" | "keepParams" | "granularity">;

/** One line of a comparison. */
export interface Contender {
  readonly name: string;
  plan(amount: Amount): Plan;
}
