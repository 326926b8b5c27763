import type { Recovery } from "./recovery.ts";
import { type RetrainOptions, retrain } from "./retrain.ts";

const taught = { answers: 1, features: 1, labels: 0, temperature: 4 } as const;

/** Trains norms, biases and the head alone, taught by the original: a hundredth of the parameters (PERP, Zimmer et al. 2023). */
export function perp(options: Partial<RetrainOptions> = {}): Recovery {
  return retrain("perp", { ...taught, only: ["norms", "biases", "head"], ...options });
}

/**
 * Trains a low-rank update of each matrix besides norms and biases, taught by the original; what is zero stays zero, and
 * the updates are merged in the end (MaskLoRA of PERP).
 */
export function lowRankUpdates(options: Partial<RetrainOptions> = {}): Recovery {
  return retrain("lora", { ...taught, only: ["norms", "biases"], lora: { rank: 8, alpha: 16 }, ...options });
}
