import type { Target } from "../allocation/target.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import type { Settings } from "./settings.ts";

/** Kinds of numbered parts of a checkpoint, and the criteria that score each; the first unless told. */
export const partCriteria = {
  block: ["influence", "error", "last", "random"],
  layer: ["influence", "error", "last", "random"],
  expert: ["reap", "frequency", "magnitude", "random"],
} as const satisfies Readonly<Record<string, readonly [string, ...string[]]>>;

export type PartName = keyof typeof partCriteria;
export type PartCriterionName<P extends PartName> = (typeof partCriteria)[P][number];

/** Kinds whose parts lie in several sets, which may compete. */
const inSets: readonly PartName[] = ["expert", "layer"];
/** Kinds whose sets compete unless told. */
const competing: readonly PartName[] = ["layer"];

/** Removes numbered parts of a checkpoint for good, such as whole blocks. */
export interface PartPlan {
  readonly kind: "parts";
  readonly part: PartName;
  /** One of `partCriteria` of that part. */
  readonly criterion: string;
  /** "group": each set of parts loses the same share; "global": parts of all sets compete. */
  readonly scope: "group" | "global";
  readonly target: Exclude<Target, { readonly kind: "macs" }>;
  /** Of what is drawn by chance. */
  readonly seed: number;
}

/** The kind of parts that a granularity names; undefined for other granularities. */
export function partNamed(granularity: string | undefined): PartName | undefined {
  return partNames.find((name) => name === granularity);
}

const partNames: readonly PartName[] = Object.keys(partCriteria).flatMap((name) => (isPart(name) ? [name] : []));

function isPart(name: string): name is PartName {
  return Object.hasOwn(partCriteria, name);
}

/** What decides which parts go, and how many: one of the amounts. */
export interface PartOptions extends Pick<Settings, "sparsity" | "keepParams" | "maxBytes"> {
  readonly part: PartName;
  /** One of `partCriteria` of the part; the first of them unless told. */
  readonly criterion?: string;
  /** "group" unless told; "global" for layers. */
  readonly scope?: PartPlan["scope"];
  /** Of what is drawn by chance; 0 unless told. */
  readonly seed?: number;
}

/** Removes numbered parts of a checkpoint. Throws `request`. */
export function parts({ part, seed = 0, ...settings }: PartOptions): PartPlan {
  return partPlanOf(part, settings, seed);
}

/** The plan that settings spell out for parts. Throws `request` for a setting that parts have no use for. */
export function partPlanOf(part: PartName, settings: Settings, seed: number): PartPlan {
  const {
    criterion = partCriteria[part][0],
    scope = competing.includes(part) ? "global" : "group",
    recover = "none",
    learning,
    ...others
  } = settings;
  const known: readonly string[] = partCriteria[part];
  const where = `--granularity ${part}`;
  if (!known.includes(criterion)) {
    const hint = didYouMean(criterion, known) || `Use one of ${known.join(", ")}.`;
    const message = `expected a criterion for ${where}, got "${criterion}".`;
    throw new EspalierError("request", `--criterion ${criterion}`, message, hint);
  }
  const misplaced = (what: string, hint: string): EspalierError =>
    new EspalierError("request", what, `expected an option for ${where}, got another's.`, hint);
  if (recover !== "none" || learning !== undefined) {
    const hint = "Leave it out; parts of checkpoints go without a repair.";
    throw misplaced(recover === "none" ? "train" : `--recover ${recover}`, hint);
  }
  if (scope !== "group" && !(scope === "global" && inSets.includes(part))) {
    throw misplaced(`--scope ${scope}`, inSets.includes(part) ? "Use group or global." : "All of them compete.");
  }
  const { sparsity, keepParams, maxBytes } = others;
  const useless = {
    "--keep-macs": others.keepMacs,
    "--max-latency": others.maxLatency,
    "--keep-latency": others.keepLatency,
    "--round-to": others.roundTo,
    "--allocation": others.allocation,
    "--rounds": others.rounds,
    "--order": others.order,
    table: others.table,
  };
  for (const [name, value] of Object.entries(useless)) {
    if (value !== undefined)
      throw misplaced(name, "Parts go as a whole: give --sparsity, --keep-params or --max-bytes.");
  }
  const targets: PartPlan["target"][] = [
    ...(sparsity === undefined ? [] : [{ kind: "sparsity", sparsity } as const]),
    ...(keepParams === undefined ? [] : [{ kind: "params", keep: keepParams } as const]),
    ...(maxBytes === undefined ? [] : [{ kind: "bytes", max: maxBytes } as const]),
  ];
  const [target] = targets;
  if (target === undefined || targets.length > 1) {
    const message = `expected one of --sparsity, --keep-params and --max-bytes, got ${targets.length}.`;
    throw new EspalierError("request", where, message);
  }
  return { kind: "parts", part, criterion, scope, target, seed };
}
