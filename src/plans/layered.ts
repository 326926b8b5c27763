import { magnitude } from "../criteria/weights/magnitude.ts";
import type { WeightPlan } from "./plan.ts";

/** Magnitude inside each layer, shares of layers by a profile: what allocations are compared with. */
export function layered(
  sparsity: number,
  profile: WeightPlan["profile"],
  prunable: WeightPlan["prunable"] = "all",
): WeightPlan {
  return {
    kind: "weights",
    prunable,
    criterion: magnitude(2),
    pattern: { kind: "element" },
    scope: "tensor",
    profile,
    sparsity,
    recovery: [],
  };
}
