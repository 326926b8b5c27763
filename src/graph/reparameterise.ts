import { EspalierError } from "../tensor/error.ts";
import type { Draft } from "./draft.ts";
import { edit } from "./edit.ts";
import type { Graph } from "./graph.ts";

/**
 * Puts an expression in the place of parameters: `expression` adds nodes and constants to the draft and gives the name
 * of the value that all present readers of the parameter get instead. It may read the parameter itself (`w * mask`) or
 * not (`U * V`: the parameter is then dead). Throws `model` where a parameter is not a constant of the graph.
 */
export function reparameterise(
  graph: Graph,
  parameters: string | Iterable<string>,
  expression: (draft: Draft, parameter: string) => string,
): Graph {
  const draft = edit(graph);
  for (const parameter of typeof parameters === "string" ? [parameters] : parameters) {
    if (!graph.constants.has(parameter)) {
      throw new EspalierError("model", `parameter "${parameter}"`, "expected a constant of the graph, got none.");
    }
    // Taken before, so that the expression's own readers of the parameter keep it.
    const readers = draft.consumers(parameter);
    draft.replaceUses(parameter, expression(draft, parameter), { only: readers });
  }
  return draft.finish();
}
