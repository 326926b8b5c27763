import type { Graph } from "../graph/graph.ts";
import { opSpec } from "../ops/table.ts";

/** What a vector is to the norm that reads it. */
export type VectorRole = "scale" | "shift" | "statistics";

/** Initializers that norms read, by what they are there; the first use decides. */
export function vectorRoles(graph: Graph): ReadonlyMap<string, VectorRole> {
  const roles = new Map<string, VectorRole>();
  for (const node of graph.nodes) {
    const spec = opSpec(node.domain, node.op)?.roles;
    if (spec === null || spec === undefined) continue;
    const note = (index: number | undefined, role: VectorRole): void => {
      const name = index === undefined ? undefined : node.inputs[index];
      if (name !== undefined && graph.constants.has(name) && !roles.has(name)) roles.set(name, role);
    };
    note(spec.scale, "scale");
    note(spec.shift, "shift");
    for (const index of spec.statistics ?? []) note(index, "statistics");
  }
  return roles;
}
