import { intsAttr } from "../../graph/attributes.ts";
import type { Node } from "../../graph/graph.ts";

/** True where a node looks up rows of a table. */
export function isLookup({ domain, op, inputs, attributes }: Node, table: string): boolean {
  const axis = attributes.get("axis");
  const first = axis === undefined || (axis.kind === "int" && axis.value === 0);
  return domain === "" && op === "Gather" && inputs[0] === table && inputs[1] !== table && first;
}

/** True where a node multiplies by a matrix from the right. */
export function isProduct({ domain, op, inputs }: Node, matrix: string): boolean {
  return domain === "" && op === "MatMul" && inputs[1] === matrix && inputs[0] !== matrix;
}

/** True where a node exchanges the axes of a matrix. */
export function isTranspose(node: Node): boolean {
  if (node.domain !== "" || node.op !== "Transpose") return false;
  return intsAttr(node, "perm", [1, 0]).join() === "1,0";
}
