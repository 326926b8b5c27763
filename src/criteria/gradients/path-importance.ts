import type { Criterion, LearningPath } from "../criterion.ts";
import { summed } from "./per-weight.ts";

/** What removing a weight would have changed the loss by, added up along a short training (D-Pruner, Zhang et al. 2024). */
export function pathImportance(path: LearningPath): Criterion<"pathImportance"> {
  return { ...summed("path", "pathImportance", (_, importance) => importance), path };
}
