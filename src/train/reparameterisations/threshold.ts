import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { int } from "../../graph/attributes.ts";
import { sizeOf } from "../../tensor/tensor.ts";

/**
 * The smallest kept and the largest removed of some scores, as constants for the gradient: of n scores, n − round(sparsity · n)
 * are kept, at least 1. Where nothing goes, the largest removed is below every number. scores: any shape; sparsity: f32 [].
 * → two f32 []
 */
export function boundary(
  g: Algebra,
  scores: Value,
  sparsity: Value,
): { readonly kept: Value; readonly removed: Value } {
  const n = sizeOf(scores.shape);
  const flat = g.reshape(scores, [n]);
  const gone = g.map("Floor", g.add(g.mul(sparsity, n), 0.5));
  const kept = g.max(g.sub(n, gone), 1);
  const count = g.reshape(g.cast(g.min(g.add(kept, 1), n), "i64"), [1]);
  // How many come back depends on data; two of them are read.
  const [largest = flat] = g.ops("TopK", [flat, count], {}, [
    { dtype: "f32", shape: [n] },
    { dtype: "i64", shape: [n] },
  ]);
  const at = (index: Value): Value =>
    g.op("Gather", [largest, g.cast(index, "i64")], { axis: int(0) }, { dtype: "f32", shape: [] });
  const beyond = g.where(g.less(kept, n), at(g.min(kept, n - 1)), lowest);
  return { kept: g.stop(at(g.sub(kept, 1))), removed: g.stop(beyond) };
}

const lowest = -3e38;
