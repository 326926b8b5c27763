import type { Graph, Node } from "../graph/graph.ts";
import { useDef } from "../graph/uses.ts";
import { type Shape, sizeOf } from "../tensor/tensor.ts";
import { type Coupling, type CouplingFacts, isBookkeeping } from "./couple.ts";
import { parameterBehind } from "./parameter-behind.ts";

/**
 * A trained matrix where it is used: criteria see [rows, columns] = [output features, input features times kernel
 * positions], whatever the operator and however the parameter is laid out.
 */
export interface Matrix {
  readonly node: Node;
  /** The initializer that holds it. */
  readonly parameter: string;
  readonly shape: Shape;
  /** Axes of the parameter that make rows, then those that make columns; the first of each is the feature. */
  readonly outputs: readonly number[];
  readonly inputs: readonly number[];
  readonly rows: number;
  readonly columns: number;
  /** Rows of group g only see the input features of group g. */
  readonly groups: number;
  /** The value that the columns multiply and its feature axis; null for a recurrent state. */
  readonly data: { readonly value: string; readonly axis: number } | null;
}

/** Every trained matrix of the graph, in node order; one that is used twice appears at each use. */
export function matrices(graph: Graph, coupling: Coupling, facts: CouplingFacts): readonly Matrix[] {
  const links = useDef(graph);
  const found: Matrix[] = [];
  for (const node of graph.nodes) {
    if (isBookkeeping(node, facts)) continue;
    for (const kernel of coupling.kernels(node)) {
      const value = node.inputs[kernel.input];
      if (value === undefined) continue;
      const source = parameterBehind(value, graph, links, facts.types.get(value)?.shape.length ?? 2);
      const shape = source === undefined ? undefined : graph.constants.get(source.parameter)?.shape;
      if (source === undefined || shape === undefined) continue;
      const move = (axis: number): number => source.axes?.[axis] ?? axis;
      const outputs = kernel.outputs.map(move);
      const inputs = kernel.inputs.map(move);
      const data = kernel.data === null ? undefined : node.inputs[kernel.data.input];
      found.push({
        node,
        parameter: source.parameter,
        shape,
        outputs,
        inputs,
        rows: sizeOf(outputs.map((axis) => shape[axis] ?? 1)),
        columns: sizeOf(inputs.map((axis) => shape[axis] ?? 1)),
        groups: kernel.groups,
        data: kernel.data === null || data === undefined ? null : { value: data, axis: kernel.data.axis },
      });
    }
  }
  return found;
}
