import type { Draft } from "./draft.ts";
import { edit } from "./edit.ts";

/**
 * Starts an empty graph: `input`, `constant`, `op` and `output` add to it, `finish` gives it.
 * `opsets` is the version of ai.onnx, or one for each domain.
 */
export function builder(name: string, opsets: number | ReadonlyMap<string, number> = 21): Draft {
  return edit({
    name,
    inputs: [],
    outputs: [],
    nodes: [],
    constants: new Map(),
    opsets: typeof opsets === "number" ? new Map([["", opsets]]) : opsets,
    valueInfo: new Map(),
  });
}
