import type { Recovery } from "./recovery.ts";
import { type RetrainOptions, retrain } from "./retrain.ts";

/** Trains the pruned graph on labels. */
export function finetune(options: Partial<RetrainOptions> = {}): Recovery {
  return retrain("finetune", { answers: 0, features: 0, labels: 1, temperature: 1, ...options });
}
