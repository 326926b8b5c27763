import type { Graph } from "../../graph/graph.ts";
import { useDef } from "../../graph/uses.ts";
import { affineUse } from "../../ops/affine-use.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { fromFloats, toFloat64 } from "../../tensor/numeric.ts";
import { load, type TensorRef } from "../../tensor/tensor.ts";

/**
 * The parameters of a changed graph as a checkpoint stores them. Where the graph multiplies one by a number that the
 * original graph does not (gains of norms over fewer features), the stored one takes that number in, rounded to its type.
 */
export function storedParameters(
  original: Graph,
  changed: Graph,
  parameters: Iterable<string>,
): ReadonlyMap<string, TensorRef> {
  const [before, after] = [useDef(original), useDef(changed)];
  const stored = new Map<string, TensorRef>();
  for (const name of parameters) {
    const ref = changed.constants.get(name);
    if (ref === undefined || !original.constants.has(name)) continue;
    const was = affineUse(original, before, name);
    const is = affineUse(changed, after, name);
    const same = was.scale === is.scale && was.shift === is.shift;
    stored.set(name, same ? ref : taken(ref, is.scale / was.scale, (is.shift - was.shift) / was.scale));
  }
  return stored;
}

/** scale · x + shift of a tensor, or of its first rows alone, computed when it is asked for. Of another type than floats: as it is. */
export function taken(from: TensorRef, scale: number, shift: number, rows = from.shape[0]): TensorRef {
  const { dtype, shape } = from;
  if (!isFloat(dtype)) return from;
  const by = async (): Promise<Uint8Array> => {
    const values = toFloat64(await load(from)).slice();
    const end = rows === undefined ? values.length : (values.length / Math.max(1, shape[0] ?? 1)) * rows;
    for (let i = 0; i < end; i++) values[i] = scale * (values[i] ?? 0) + shift;
    return fromFloats(dtype, shape, values).bytes;
  };
  return { dtype, shape, made: { from, by } };
}
