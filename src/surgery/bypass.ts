import type { Draft } from "../graph/draft.ts";
import { edit } from "../graph/edit.ts";
import type { Graph, Node, TensorType } from "../graph/graph.ts";
import { removeDeadCode } from "../graph/passes/dead-code.ts";
import { otherAddend } from "../ops/linear.ts";
import { type FloatType, isFloat } from "../tensor/dtype.ts";
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
  const dropped = overBranches(graph, branches, types, (_, { mean }) => mean);
  return dropped === graph ? graph : removeDeadCode(dropped);
}

/**
 * The reference of the law of surgery for branches: every branch is still computed, a mask of zeros is multiplied in where
 * it joins its sum, and its mean is added.
 */
export function maskBranches(
  graph: Graph,
  branches: readonly DroppedBranch[],
  types: ReadonlyMap<string, TensorType>,
): Graph {
  return overBranches(graph, branches, types, (draft, { branch, mean, dtype, before }) => {
    const mask = draft.constant(fromFloats(dtype, [], Float64Array.of(0)), "mask");
    const masked = draft.op("Mul", [branch, mask], {}, draft.fresh(`${branch}_masked`), { before });
    return draft.op("Add", [masked, mean], {}, draft.fresh(`${branch}_mean`), { before });
  });
}

/** Where a branch joins its sum. */
interface Joint {
  readonly branch: string;
  /** A constant that broadcasts over the branch. */
  readonly mean: string;
  readonly dtype: FloatType;
  /** The sum. */
  readonly before: Node;
}

/** Puts something in the place of each branch where it joins its sum. */
function overBranches(
  graph: Graph,
  branches: readonly DroppedBranch[],
  types: ReadonlyMap<string, TensorType>,
  instead: (draft: Draft, joint: Joint) => string,
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
    const value = instead(draft, { branch, mean: constant, dtype: type.dtype, before: node });
    draft.setInput(node, node.inputs.indexOf(branch), value);
  }
  return draft.finish();
}
