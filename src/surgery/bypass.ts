import { removeDeadCode } from "../graph/dead-code.ts";
import { edit } from "../graph/edit.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import { useDef } from "../graph/uses.ts";
import { otherAddend } from "../ops/linear.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromFloats } from "../tensor/numeric.ts";

/** A branch that ends in a sum with something that leads past it. */
export interface Branch {
  /** The value that the branch adds, at the sum. */
  readonly value: string;
  readonly sum: string;
  readonly bypass: string;
}

/**
 * The branch that a value belongs to: follows its only reader until a sum with a value of the same shape that does not
 * depend on it; undefined where something else reads it on the way or its shape changes.
 */
export function branchOf(graph: Graph, value: string, types: ReadonlyMap<string, TensorType>): Branch | undefined {
  const uses = useDef(graph);
  let name = value;
  for (;;) {
    const readers = uses.consumers(name);
    const node = readers[0]?.node;
    if (node === undefined || readers.length !== 1 || uses.isOutput(name) || node.outputs.length !== 1)
      return undefined;
    const sum = node.outputs[0] ?? "";
    const bypass = otherAddend(node, name);
    if (bypass !== null && !graph.constants.has(bypass)) {
      return sameShape(types.get(bypass), types.get(sum)) ? { value: name, sum, bypass } : undefined;
    }
    name = sum;
  }
}

/** Removes branches: each sum becomes its bypass plus the mean that the branch had, [channels] along `axis`. */
export function dropBranches(
  graph: Graph,
  branches: readonly { readonly branch: Branch; readonly mean: Float64Array; readonly axis: number }[],
  types: ReadonlyMap<string, TensorType>,
): Graph {
  const draft = edit(graph);
  for (const { branch, mean, axis } of branches) {
    const type = types.get(branch.value);
    const node = draft.producer(branch.sum);
    const side = node?.inputs.indexOf(branch.value) ?? -1;
    if (type === undefined || node === undefined || side < 0 || (type.dtype !== "f32" && type.dtype !== "f16")) {
      throw new EspalierError("model", branch.sum, "expected a sum that a branch of floats joins, got something else.");
    }
    const shape = [mean.length, ...Array<number>(type.shape.length - 1 - axis).fill(1)];
    draft.setInput(node, side, draft.constant(fromFloats(type.dtype, shape, mean), `${branch.sum}_mean`));
  }
  return removeDeadCode(draft.finish());
}

function sameShape(a: TensorType | undefined, b: TensorType | undefined): boolean {
  return (
    a !== undefined && b !== undefined && a.shape.length === b.shape.length && a.shape.every((n, i) => n === b.shape[i])
  );
}
