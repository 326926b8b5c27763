import { EspalierError } from "../../tensor/error.ts";
import type { Random } from "../../tensor/random.ts";

/** How the next token is chosen from its logits. */
export interface Drawing {
  /** Divides logits; 0 takes the most likely token (default). */
  readonly temperature?: number;
  /** Only the most likely tokens, which together have at least this probability (Holtzman et al. 2020, top-p). */
  readonly topP?: number;
  /** Only so many of the most likely tokens. */
  readonly topK?: number;
}

/** Throws `request` for numbers that mean nothing. */
export function checkDrawing({ temperature = 0, topP = 1, topK = 1 }: Drawing): void {
  const fail = (name: string, expected: string, got: number): EspalierError =>
    new EspalierError("request", name, `expected ${expected}, got ${got}.`);
  if (!(temperature >= 0 && temperature < Number.POSITIVE_INFINITY))
    throw fail("temperature", "a number from 0", temperature);
  if (!(topP > 0 && topP <= 1)) throw fail("top-p", "a probability above 0", topP);
  if (!Number.isInteger(topK) || topK < 1) throw fail("top-k", "a whole number from 1", topK);
}

/** The next token by its logits. Of equally likely ones the first is taken where nothing is drawn. */
export function drawToken(logits: Float32Array, { temperature = 0, topP = 1, topK }: Drawing, random: Random): number {
  if (temperature === 0) return likeliest(logits);
  const order = topP < 1 || topK !== undefined ? sorted(logits).subarray(0, topK) : Int32Array.from(logits.keys());
  const top = logits[likeliest(logits)] ?? 0;
  const shares = Float64Array.from(order, (token) => Math.exp(((logits[token] ?? 0) - top) / temperature));
  const whole = shares.reduce((sum, share) => sum + share, 0);
  let kept = 0;
  let reached = 0;
  while (kept < shares.length && (kept === 0 || reached < topP * whole)) reached += shares[kept++] ?? 0;
  let left = random.uniform() * reached;
  for (let i = 0; i < kept; i++) {
    left -= shares[i] ?? 0;
    if (left < 0) return order[i] ?? 0;
  }
  return order[kept - 1] ?? 0;
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) {
    const value = logits[i] ?? 0;
    if (value > most) [best, most] = [i, value];
  }
  return best;
}

/** Tokens, the most likely first. */
function sorted(logits: Float32Array): Int32Array {
  return Int32Array.from(logits.keys()).sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
}
