import type { Target } from "../allocation/target.ts";
import { EspalierError } from "../tensor/error.ts";
import type { Settings } from "./settings.ts";

/** The granularity that removes tokens. */
export const tokenGranularity = "vocabulary";

/** Removes tokens of a checkpoint: those that its texts do not use, or more, the rarest first. */
export interface TokenPlan {
  readonly kind: "tokens";
  readonly criterion: "frequency";
  /** How many go; null where those do that the texts do not use. */
  readonly target: Exclude<Target, { readonly kind: "macs" }> | null;
  /** What stays is a multiple of it. */
  readonly roundTo: number;
}

/** The plan that settings spell out for tokens. Throws `request` for a setting that tokens have no use for. */
export function tokenPlanOf(settings: Settings): TokenPlan {
  const { criterion = "frequency", recover = "none", learning, sparsity, keepParams, maxBytes, roundTo } = settings;
  const where = `--granularity ${tokenGranularity}`;
  const refuse = (what: string, hint: string): EspalierError =>
    new EspalierError("request", what, `expected an option for ${where}, got another's.`, hint);
  if (criterion !== "frequency") throw refuse(`--criterion ${criterion}`, "Tokens go by their frequency in --calib.");
  const useless = {
    "--recover": recover === "none" ? undefined : recover,
    train: learning,
    "--scope": settings.scope,
    "--keep-macs": settings.keepMacs,
    "--max-latency": settings.maxLatency,
    "--keep-latency": settings.keepLatency,
    "--allocation": settings.allocation,
    "--rounds": settings.rounds,
    "--order": settings.order,
    table: settings.table,
  };
  for (const [name, value] of Object.entries(useless)) {
    if (value !== undefined) throw refuse(name, "Give --sparsity, --keep-params, --max-bytes or none, and --round-to.");
  }
  if (roundTo === "auto") throw refuse("--round-to auto", "Give a number, such as 64.");
  const targets: NonNullable<TokenPlan["target"]>[] = [
    ...(sparsity === undefined ? [] : [{ kind: "sparsity", sparsity } as const]),
    ...(keepParams === undefined ? [] : [{ kind: "params", keep: keepParams } as const]),
    ...(maxBytes === undefined ? [] : [{ kind: "bytes", max: maxBytes } as const]),
  ];
  if (targets.length > 1) {
    const message = `expected at most one of --sparsity, --keep-params and --max-bytes, got ${targets.length}.`;
    throw new EspalierError("request", where, message);
  }
  return { kind: "tokens", criterion, target: targets[0] ?? null, roundTo: roundTo ?? 1 };
}
