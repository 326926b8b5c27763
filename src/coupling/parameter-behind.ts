import type { Graph } from "../graph/graph.ts";
import type { UseDef } from "../graph/uses.ts";
import { opSpec } from "../ops/table.ts";

/** A parameter that a value carries; `axes` maps axes of the value to axes of the parameter, where they are not the same. */
export interface Carried {
  readonly parameter: string;
  readonly axes?: readonly number[];
}

/** Follows a value of `rank` axes back through casts and transpositions to the parameter that it carries, if it does. */
export function parameterBehind(value: string, graph: Graph, links: UseDef, rank: number): Carried | undefined {
  let name = value;
  let axes: readonly number[] | undefined;
  for (;;) {
    if (graph.constants.has(name)) return axes === undefined ? { parameter: name } : { parameter: name, axes };
    const node = links.producer(name)?.node;
    const from = node?.inputs[0];
    const carries = node === undefined ? undefined : opSpec(node.domain, node.op)?.roles?.carries;
    if (node === undefined || from === undefined || carries === undefined) return undefined;
    const order = carries(node, graph.constants.get(from)?.shape.length ?? axes?.length ?? rank);
    if (order !== null) axes = axes === undefined ? order : axes.map((axis) => order[axis] ?? axis);
    name = from;
  }
}
