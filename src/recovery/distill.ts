import type { Recovery } from "./recovery.ts";
import { type RetrainOptions, retrain } from "./retrain.ts";

/**
 * Trains the pruned graph to answer as the original does, and to give what the original gives at the sums on the way
 * (Hinton et al. 2015; features as in FitNets, Romero et al. 2015, at the units that were kept). Needs inputs, no labels.
 */
export function distill(options: Partial<RetrainOptions> = {}): Recovery {
  return retrain("distill", { answers: 1, features: 20, labels: 0, temperature: 2, ...options });
}
