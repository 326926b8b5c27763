import { removeDeadCode } from "../graph/dead-code.ts";
import { edit } from "../graph/edit.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import { otherAddend } from "../ops/linear.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromFloats } from "../tensor/numeric.ts";

/** A residual branch that goes as a whole: the sum it flows into keeps what leads past it. */
export interface DroppedBranch {
  /** The sum that the branch joins, and the other value that it adds. */
  readonly sum: string;
  readonly bypass: string;
  /** What takes the place of the branch, for each channel: its mean. */
  readonly mean: Float64Array;
  /** Axis of the channels. */
  readonly axis: number;
}

/** Removes branches, and everything that only they needed. Throws `model` where a sum is no sum of two floats. */
export function dropBranches(
  graph: Graph,
  branches: readonly DroppedBranch[],
  types: ReadonlyMap<string, TensorType>,
): Graph {
  if (branches.length === 0) return graph;
  const draft = edit(graph);
  for (const { sum, bypass, mean, axis } of branches) {
    const type = types.get(sum);
    const node = draft.producer(sum);
    const branch = node === undefined ? null : otherAddend(node, bypass);
    if (type === undefined || node === undefined || branch === null || !isFloat(type.dtype)) {
      throw new EspalierError("model", sum, "expected a sum of a branch and its bypass, got something else.");
    }
    const shape = [mean.length, ...Array<number>(type.shape.length - 1 - axis).fill(1)];
    const constant = draft.constant(fromFloats(type.dtype, shape, mean), `${sum}_mean`);
    draft.setInput(node, node.inputs.indexOf(branch), constant);
  }
  return removeDeadCode(draft.finish());
}
