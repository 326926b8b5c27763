import type { Algebra } from "../graph/algebra.ts";
import { describeNode } from "../graph/attributes.ts";
import { EspalierError } from "../tensor/error.ts";
import { formulaContext, gradientOf } from "./formulas.ts";

/** Writes operators that differentiate by lowering with the operators that they are made of, until none is left. */
export function lowerAll(g: Algebra): void {
  for (let round = 0; ; round++) {
    let lowered = 0;
    for (const node of g.draft.nodes()) {
      const found = gradientOf(node);
      if (typeof found !== "object" || found === null) continue;
      if (round > deepest) {
        throw new EspalierError("model", describeNode(node), "expected operators that can be written with others.");
      }
      const outputs = found.lower(formulaContext(g, node));
      g.draft.remove(node);
      for (const [index, name] of node.outputs.entries()) {
        const value = outputs[index];
        if (name !== "" && value !== undefined && value !== null) g.draft.replaceUses(name, value.name);
      }
      lowered++;
    }
    if (lowered === 0) return;
  }
}

/** A lowering may write operators that are lowered themselves; more levels than this would be a circle. */
const deepest = 8;
