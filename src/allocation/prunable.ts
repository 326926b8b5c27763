import type { Matrix } from "../coupling/matrices.ts";
import type { Graph } from "../graph/graph.ts";

/** Which matrices are pruned: all; without those nearest to the outputs; without those nearest to the inputs; without both. */
export type Preset = "all" | "no-head" | "no-stem" | "inner";

/**
 * The matrices that a preset and a list of exceptions leave, once each. A head is a matrix with no other between it and
 * the outputs, such as the final classifier; a stem has none between it and the inputs, such as the first convolution.
 */
export function prunable(
  graph: Graph,
  matrices: readonly Matrix[],
  preset: Preset,
  ignored: (name: string) => boolean = () => false,
): readonly Matrix[] {
  const owners = new Set(matrices.map(({ node }) => node));
  const stems = new Set(preset === "no-stem" || preset === "inner" ? ends(graph, owners, "stem") : []);
  const heads = new Set(preset === "no-head" || preset === "inner" ? ends(graph, owners, "head") : []);
  const seen = new Set<string>();
  return matrices.filter(({ node, parameter }) => {
    if (seen.has(parameter) || stems.has(node) || heads.has(node)) return false;
    if (ignored(parameter) || ignored(node.name)) return false;
    seen.add(parameter);
    return true;
  });
}

type Node = Graph["nodes"][number];

/** Nodes with a matrix that meet no other on the way from the inputs (stems) or to the outputs (heads). */
function ends(graph: Graph, owners: ReadonlySet<Node>, which: "stem" | "head"): readonly Node[] {
  const beyond = new Set<string>();
  const found: Node[] = [];
  const nodes = which === "stem" ? graph.nodes : graph.nodes.toReversed();
  for (const node of nodes) {
    const from = which === "stem" ? node.inputs : node.outputs;
    const to = which === "stem" ? node.outputs : node.inputs;
    const met = from.some((name) => beyond.has(name));
    const owner = owners.has(node);
    if (owner && !met) found.push(node);
    if (owner || met) for (const name of to) if (name !== "") beyond.add(name);
  }
  return found;
}
