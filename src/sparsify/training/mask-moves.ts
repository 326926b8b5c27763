import { er, erk, type Layer, lampAscending } from "../../allocation/densities.ts";
import { type Random, random } from "../../tensor/random.ts";
import { countOf, smallest } from "../../tensor/selection/select.ts";

/** The weights of one parameter, and which are alive (1). */
export interface MaskedLayer {
  readonly name: string;
  readonly shape: readonly number[];
  readonly weights: Float32Array;
  readonly mask: Uint8Array;
}

/** How many each layer keeps, and what decides inside it: always magnitude. */
export type PruneScope = "global" | "lamp" | Profile;

/** Shares of layers that do not look at weights: the same of each, or by Erdős–Rényi with its kernel or without. */
export type Profile = "uniform" | "er" | "erk";

/**
 * Masks at a sparsity of all weights together: the smallest magnitudes go, of equal ones those with the lower index. What is
 * dead goes first, so that nothing comes back. "global" ranks all layers together, "lamp" by LAMP's scores; "uniform" takes the
 * same share of each layer, "er" and "erk" shares by Erdős–Rényi.
 */
export function prunedMasks(
  layers: readonly MaskedLayer[],
  sparsity: number,
  scope: PruneScope,
): ReadonlyMap<string, Uint8Array> {
  const scores = layers.map((layer) => magnitudes(layer, -1));
  if (scope === "global" || scope === "lamp") {
    const ranked = scope === "lamp" ? scores.map(lamp) : scores;
    const all = new Float64Array(ranked.reduce((n, { length }) => n + length, 0));
    let at = 0;
    for (const part of ranked) {
      all.set(part, at);
      at += part.length;
    }
    const gone = smallest(all, countOf(sparsity, all.length));
    at = 0;
    return new Map(
      layers.map(({ name, weights }) => {
        const part = gone.subarray(at, at + weights.length);
        at += weights.length;
        return [name, inverted(part)];
      }),
    );
  }
  const densities = profiles[scope](layers, 1 - sparsity);
  return new Map(
    layers.map(({ name, weights }, l) => {
      const gone = smallest(scores[l] ?? weights, countOf(1 - (densities[l] ?? 1), weights.length));
      return [name, inverted(gone)];
    }),
  );
}

const profiles: Readonly<Record<Profile, (layers: readonly Layer[], density: number) => readonly number[]>> = {
  uniform: (layers, density) => layers.map(() => density),
  er,
  erk,
};

/** |w| of what is alive, another number for what is dead. */
function magnitudes({ weights, mask }: Pick<MaskedLayer, "weights" | "mask">, dead: number): Float32Array {
  const out = new Float32Array(weights.length);
  for (let i = 0; i < out.length; i++) out[i] = mask[i] === 1 ? Math.abs(weights[i] ?? 0) : dead;
  return out;
}

function inverted(bits: Uint8Array): Uint8Array {
  const out = new Uint8Array(bits.length);
  for (let i = 0; i < out.length; i++) out[i] = 1 - (bits[i] ?? 0);
  return out;
}

/** How many entries of a mask are 1. */
function aliveIn(mask: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < mask.length; i++) count += mask[i] ?? 0;
  return count;
}

/** w with zeros where a mask has them. */
export function zeroed(weights: Float32Array, mask: Uint8Array): Float32Array {
  const out = new Float32Array(weights.length);
  for (let i = 0; i < out.length; i++) out[i] = mask[i] === 1 ? (weights[i] ?? 0) : 0;
  return out;
}

/** w² over the sum of all squares of the layer that are not smaller; dead weights stay below all others. */
function lamp(magnitudes: Float32Array): Float32Array {
  const order = Array.from(magnitudes, (_, i) => i).sort(
    (a, b) => (magnitudes[a] ?? 0) - (magnitudes[b] ?? 0) || a - b,
  );
  const sorted = lampAscending(Float64Array.from(order, (i) => Math.max(0, magnitudes[i] ?? 0) ** 2));
  const out = new Float32Array(magnitudes.length);
  for (const [rank, i] of order.entries()) out[i] = (magnitudes[i] ?? 0) < 0 ? -1 : (sorted[rank] ?? 0);
  return out;
}

/**
 * Drops a share of the alive weights of a layer, the smallest, and lets as many grow where the growth score is largest among what is dead
 * then: what was just dropped may win again. The density stays. Without scores, places are drawn among what was dead before.
 */
export function regrownMask(
  { weights, mask }: Pick<MaskedLayer, "weights" | "mask">,
  share: number,
  growth: Float32Array | Random,
): Uint8Array {
  const alive = aliveIn(mask);
  const count = Math.min(countOf(share, alive), mask.length - (growth instanceof Float32Array ? 0 : alive));
  if (count === 0) return mask.slice();
  const next = mask.slice();
  const gone = smallest(magnitudes({ weights, mask }, Number.POSITIVE_INFINITY), count);
  for (let i = 0; i < next.length; i++) if (gone[i] === 1) next[i] = 0;
  if (growth instanceof Float32Array) {
    // The largest score has the smallest negative; what is alive comes last.
    const scores = new Float32Array(growth.length);
    for (let i = 0; i < scores.length; i++) scores[i] = next[i] === 1 ? 1 : -Math.abs(growth[i] ?? 0);
    const grown = smallest(scores, count);
    for (let i = 0; i < next.length; i++) if (grown[i] === 1) next[i] = 1;
    return next;
  }
  const dead: number[] = [];
  for (let i = 0; i < mask.length; i++) if (mask[i] === 0) dead.push(i);
  for (const place of growth.sample(dead.length, count)) next[dead[place] ?? 0] = 1;
  return next;
}

/** Masks with exact counts at random places, shares of layers by a scope other than those that look at weights. */
export function randomMasks(
  layers: readonly Pick<MaskedLayer, "name" | "shape">[],
  sparsity: number,
  profile: Profile,
  source: Random,
): ReadonlyMap<string, Uint8Array> {
  const noise = layers.map(({ name, shape }) => {
    const weights = new Float32Array(shape.reduce((n, dim) => n * dim, 1));
    source.split(name).fillUniform(weights, 0.5, 1);
    return { name, shape, weights, mask: new Uint8Array(weights.length).fill(1) };
  });
  return prunedMasks(noise, sparsity, profile);
}

/** The same counts in every layer at other places. */
export function shuffledMasks(masks: ReadonlyMap<string, Uint8Array>, seed: number): ReadonlyMap<string, Uint8Array> {
  return new Map(
    [...masks].map(([name, mask]) => {
      const order = random(seed, "shuffle", name).permutation(mask.length);
      return [name, mask.map((_, i) => mask[order[i] ?? 0] ?? 0)];
    }),
  );
}
