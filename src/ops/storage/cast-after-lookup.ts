import type { Draft } from "../../graph/draft.ts";
import { edit } from "../../graph/edit.ts";
import type { Graph, Node } from "../../graph/graph.ts";
import { removeDeadCode } from "../../graph/passes/dead-code.ts";
import { isLookup } from "./uses.ts";

/**
 * The same graph with tables looked up in the type in which they are stored: rows are cast behind the lookup, where it had all
 * of the table cast to take a few rows of it.
 */
export function castAfterLookup(graph: Graph): Graph {
  const draft = edit(graph);
  for (const node of graph.nodes) {
    const table = node.inputs[0] ?? "";
    if (!isLookup(node, table)) continue;
    const casts = castsBehind(draft, table);
    const [first] = casts;
    if (first === undefined) continue;
    const current = draft.current(node);
    const [looked = ""] = current.outputs;
    let rows = draft.fresh(looked);
    draft.replace(current, {
      ...current,
      name: rows,
      inputs: [first.inputs[0] ?? "", ...current.inputs.slice(1)],
      outputs: [rows],
    });
    for (const [i, { op, attributes }] of casts.entries()) {
      rows = draft.op(
        op,
        [rows],
        Object.fromEntries(attributes),
        i === casts.length - 1 ? looked : draft.fresh(looked),
      );
    }
  }
  return removeDeadCode(draft.finish());
}

/** The casts that lead to a value, the first of them first. */
function castsBehind(draft: Draft, value: string): readonly Node[] {
  const casts: Node[] = [];
  for (let node = draft.producer(value); node !== undefined && isCast(node); ) {
    casts.unshift(node);
    node = draft.producer(node.inputs[0] ?? "");
  }
  return casts;
}

/** Each element by itself, in another type or another reading of the same bits. */
function isCast({ domain, op }: Node): boolean {
  return domain === "" && (op === "Cast" || op === "BitCast");
}
