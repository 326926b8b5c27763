import type { TensorRef } from "../../tensor/tensor.ts";
import type { CheckpointModel } from "./checkpoint-model.ts";
import { taken } from "./stored.ts";

/**
 * Matrices that make norms over fewer features, or over as many of a narrower model, compute what they did. A config has one ε for all
 * norms, which follows the width (x / √(mean x² + ε) over n' of n features is over ε · n / n'): a norm over other features than
 * the width's, or one whose ε no config states, gets x multiplied by s instead, since s · x / √(mean (s · x)² + s² · ε) is what it was. `fields` are those of the
 * config that change. Types of few digits are multiplied by a power of 2, which rounds nothing and leaves less than half of the difference.
 */
export function evenedNorms(
  { checkpoint, outline, stages }: CheckpointModel,
  tensors: ReadonlyMap<string, TensorRef>,
  fields: ReadonlyMap<string, number>,
): ReadonlyMap<string, TensorRef> {
  const found = new Map<string, TensorRef>();
  const [counts] = Object.values(outline.epsilons ?? {});
  if (counts === undefined) return found;
  const width = Number({ ...checkpoint.config, ...outline.explicit }[counts]);
  const ofWidth = (fields.get(counts) ?? width) / width;
  for (const [gain, { matrix, bias, part, epsilon }] of stages.flatMap(({ norms }) => [...norms])) {
    const before = checkpoint.tensors.get(gain)?.shape[0] ?? 1;
    const now = tensors.get(gain)?.shape[0] ?? before;
    const factor = Math.sqrt(now / before / (epsilon === "config" ? ofWidth : 1));
    if (factor === 1) continue;
    for (const name of [matrix, bias]) {
      const ref = tensors.get(name) ?? checkpoint.tensors.get(name);
      const by = ref === undefined ? 1 : exactIn(ref, factor);
      if (ref !== undefined && by !== 1) found.set(name, taken(ref, by, 0, part === "all" ? ref.shape[0] : now));
    }
  }
  return found;
}

/** The factor itself, or for types of few digits the nearest power of 2. */
function exactIn({ dtype }: TensorRef, factor: number): number {
  return dtype === "f32" || dtype === "f64" ? factor : 2 ** Math.round(Math.log2(factor));
}
