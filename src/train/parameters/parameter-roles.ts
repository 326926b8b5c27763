import type { Matrix } from "../../coupling/matrices.ts";
import { vectorRoles } from "../../coupling/roles.ts";
import type { Graph, Node } from "../../graph/graph.ts";
import { otherAddend, runningStatistics } from "../../ops/linear.ts";
import { opSpec } from "../../ops/table.ts";
import { isFloat } from "../../tensor/dtype.ts";

/** What a parameter is to the operators that read it. */
export type ParameterRole =
  | { readonly kind: "matrix"; readonly matrix: Matrix }
  /** Added to what a matrix gives; null where that matrix is not known. */
  | { readonly kind: "bias"; readonly of: Node | null }
  /** Rows that integers look up. */
  | { readonly kind: "table" }
  /** Learned factor and offset of each channel behind a norm. */
  | { readonly kind: "scale" | "shift" }
  /** Running statistics: measured, not trained. */
  | { readonly kind: "mean" | "variance" };

/** Float constants of a graph by what operators do with them; the first use decides. Others are not in the map. */
export function parameterRoles(graph: Graph, matrices: readonly Matrix[]): ReadonlyMap<string, ParameterRole> {
  const roles = new Map<string, ParameterRole>();
  const note = (name: string | undefined, role: ParameterRole): void => {
    const ref = name === undefined ? undefined : graph.constants.get(name);
    if (name !== undefined && ref !== undefined && isFloat(ref.dtype) && !roles.has(name)) roles.set(name, role);
  };
  for (const matrix of matrices) note(matrix.parameter, { kind: "matrix", matrix });
  for (const node of graph.nodes) {
    const statistics = runningStatistics(node);
    note(statistics?.mean, { kind: "mean" });
    note(statistics?.variance, { kind: "variance" });
    const known = opSpec(node.domain, node.op)?.roles;
    if (known?.bias !== undefined) note(node.inputs[known.bias], { kind: "bias", of: node });
    const table = known?.table === undefined ? undefined : node.inputs[known.table];
    if (graph.constants.get(table ?? "")?.shape.length === 2) note(table, { kind: "table" });
  }
  for (const [name, role] of vectorRoles(graph)) if (role !== "statistics") note(name, { kind: role });
  for (const [name, of] of addedVectors(graph, matrices)) note(name, { kind: "bias", of });
  return roles;
}

/** Vectors that nodes of their own add to what a matrix gives, with the node of that matrix. */
function addedVectors(graph: Graph, matrices: readonly Matrix[]): ReadonlyMap<string, Node> {
  const producers = new Map<string, Node>();
  for (const { node } of matrices) for (const name of node.outputs) producers.set(name, node);
  const found = new Map<string, Node>();
  for (const node of graph.nodes) {
    for (const name of node.inputs) {
      const long = graph.constants.get(name)?.shape.filter((n) => n > 1).length;
      const source = long === 1 ? producers.get(otherAddend(node, name) ?? "") : undefined;
      if (source !== undefined) found.set(name, source);
    }
  }
  return found;
}
