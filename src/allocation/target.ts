import type { Cost } from "../cost/cost.ts";
import { EspalierError } from "../tensor/error.ts";

/** What the user asks for. Fractions of `keep...` name what is left; `sparsity` names what goes. */
export type Target =
  | { readonly kind: "sparsity"; readonly sparsity: number }
  | { readonly kind: "macs"; readonly keep: number }
  | { readonly kind: "params"; readonly keep: number }
  | { readonly kind: "bytes"; readonly max: number };

/** True when a cost meets the target; `sparsity` is not a cost and always does. */
export function meets(target: Target, cost: Cost, full: Cost): boolean {
  switch (target.kind) {
    case "sparsity":
      return true;
    case "macs":
      return cost.macs <= target.keep * full.macs;
    case "params":
      return cost.params <= target.keep * full.params;
    case "bytes":
      return cost.bytes <= target.max;
  }
}

/** True when less is left than a target asks for; `sparsity` is not a cost and never is passed. */
export function passes(target: Target, cost: Cost, full: Cost): boolean {
  switch (target.kind) {
    case "sparsity":
      return false;
    case "macs":
      return cost.macs < target.keep * full.macs;
    case "params":
      return cost.params < target.keep * full.params;
    case "bytes":
      return cost.bytes < target.max;
  }
}

/** The target as the user wrote it, and how near `cost` comes to it with as little `left` as there can be. */
export function unreachable(
  target: Target,
  cost: Cost,
  full: Cost,
  left = "as few units as every group may keep",
): EspalierError {
  const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;
  switch (target.kind) {
    case "sparsity":
      return new EspalierError("request", "--sparsity", `expected a fraction below 1, got ${target.sparsity}.`);
    case "macs":
      return new EspalierError(
        "request",
        "--keep-macs",
        `expected a target that this model can reach, got ${target.keep}.`,
        `With ${left} ${percent(cost.macs, full.macs)} of the MACs remain.`,
      );
    case "params":
      return new EspalierError(
        "request",
        "--keep-params",
        `expected a target that this model can reach, got ${target.keep}.`,
        `With ${left} ${percent(cost.params, full.params)} of the parameters remain.`,
      );
    case "bytes":
      return new EspalierError(
        "request",
        "--max-bytes",
        `expected a size that this model can reach, got ${target.max} bytes.`,
        `With ${left} its weights take ${cost.bytes} bytes.`,
      );
  }
}
