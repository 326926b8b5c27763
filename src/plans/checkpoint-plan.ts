import { EspalierError } from "../tensor/error.ts";
import { type PartPlan, partNamed, partPlanOf } from "./parts.ts";
import type { UnitPlan, WeightPlan } from "./plan.ts";
import { planOf, type Settings } from "./settings.ts";
import { type TokenPlan, tokenGranularity, tokenPlanOf } from "./tokens.ts";

/** What checkpoints are pruned by: zeros, fewer units, or fewer of what is numbered. */
export type CheckpointPlan = WeightPlan | UnitPlan | PartPlan | TokenPlan;

/**
 * The plan for a checkpoint: single weights by Wanda unless told, or units where a granularity or an amount asks for them.
 * Criteria that look at inputs compare the weights of a row, as their authors do; widths are not rounded unless told. Throws
 * `request` like `planOf`, and for what checkpoints are not pruned by.
 */
export function checkpointPlanOf(settings: Settings, seed: number): CheckpointPlan {
  if (settings.granularity === tokenGranularity) return tokenPlanOf(settings);
  const part = partNamed(settings.granularity);
  if (part !== undefined) return partPlanOf(part, settings, seed);
  const { granularity = isOfUnits(settings) ? "channel" : "weight", roundTo, scope } = settings;
  const plan = planOf({ ...settings, granularity, ...usual(granularity, settings) }, seed);
  if (plan.kind === "units") {
    return roundTo === undefined ? { ...plan, allocation: { ...plan.allocation, roundTo: 1 } } : plan;
  }
  if (plan.kind === "weights") {
    return scope === undefined && plan.criterion.needs.length > 0 ? { ...plan, scope: "row" } : plan;
  }
  const hint = "Export it to ONNX to take layers apart into ranks.";
  const message =
    "expected weights, a pattern such as 2:4, channels, heads, blocks, layers, experts or the vocabulary, by which checkpoints are pruned.";
  throw new EspalierError("request", `--granularity ${granularity}`, message, hint);
}

/** Amounts that only units have. */
function isOfUnits({ keepMacs, keepParams, maxBytes }: Settings): boolean {
  return keepMacs !== undefined || keepParams !== undefined || maxBytes !== undefined;
}

function usual(granularity: string, { criterion }: Settings): Settings {
  const units = ["channel", "head", "query-head", "layer", "rank"].some((name) => granularity.startsWith(name));
  return criterion === undefined && !units ? { criterion: "wanda" } : {};
}
