import type { PartCriterionName, PartName, PartPlan } from "../../plans/parts.ts";
import { EspalierError } from "../../tensor/error.ts";
import { blocks } from "./blocks.ts";
import { experts } from "./experts.ts";
import { layers } from "./layers.ts";
import type { PartCriterion, PartKind } from "./part-kind.ts";

/** What can be done with each kind of parts. */
const kinds: { readonly [P in PartName]: PartKind<PartCriterionName<P>> } = {
  block: blocks,
  expert: experts,
  layer: layers,
};

/** The kind of parts of a plan. */
export function partKindOf({ part }: PartPlan): PartKind {
  return kinds[part];
}

/** The criterion of a plan. Throws `request` where its kind of parts has no such. */
export function criterionOf(plan: PartPlan): PartCriterion {
  const { criteria } = partKindOf(plan);
  const found = new Map(Object.entries(criteria)).get(plan.criterion);
  if (found !== undefined) return found;
  const message = `expected one of ${Object.keys(criteria).join(", ")}, got "${plan.criterion}".`;
  throw new EspalierError("request", `--criterion ${plan.criterion}`, message);
}
