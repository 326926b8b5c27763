import type { Algebra, Value } from "../graph/algebra/algebra.ts";
import { describeNode } from "../graph/attributes.ts";
import { blockedForm } from "../ops/lowerings/blocked.ts";
import type { FormulaContext, Gradient } from "../ops/spec.ts";
import { EspalierError } from "../tensor/error.ts";
import { formulaContext, gradientOf } from "./formulas.ts";

/** Writes operators that differentiate by lowering with the operators that they are made of, until none is left. */
export function lowerAll(g: Algebra): void {
  rewriteAll(
    g,
    (found) => (isObject(found) && "lower" in found ? found.lower : null),
    (name, value) => g.draft.replaceUses(name, value.name),
  );
}

/** Writes operators of our own with those that runtimes have. What is written afterwards may hold new ones. */
export function composeAll(g: Algebra): void {
  rewriteAll(
    g,
    (found) => (isObject(found) && "compose" in found ? found.compose : null),
    (name, value) => standIn(g, name, value),
  );
}

/** Readers of a value that is gone read another; whoever keeps it under its name still finds it. */
function standIn(g: Algebra, name: string, value: Value): void {
  g.draft.replaceUses(name, value.name, { outputs: false });
  g.draft.op("Identity", [value.name], {}, name);
}

/**
 * Convolutions whose weights are no constants in the form with blocks of channels, where they have it: `block` is a runtime's
 * `channelBlock`. The runtime does the same for constant weights by itself. What is written has no gradient.
 */
export function blockChannels(g: Algebra, block: number): void {
  const { constants } = g.finish().graph;
  for (const node of g.draft.nodes()) {
    const form = blockedForm(node);
    if (form === null || node.inputs.some((name) => constants.has(name))) continue;
    const value = form(formulaContext(g, node), block);
    if (value === null) continue;
    g.draft.remove(node);
    for (const name of node.outputs) standIn(g, name, value);
  }
}

type Outputs = readonly (Value | null)[];

function rewriteAll(
  g: Algebra,
  pick: (found: Gradient) => ((c: FormulaContext) => Outputs | null) | null,
  replace: (name: string, value: Value) => void,
): void {
  for (let round = 0; ; round++) {
    let rewritten = 0;
    for (const node of g.draft.nodes()) {
      const outputs = pick(gradientOf(node))?.(formulaContext(g, node)) ?? null;
      if (outputs === null) continue;
      if (round > deepest) {
        throw new EspalierError("model", describeNode(node), "expected operators that can be written with others.");
      }
      g.draft.remove(node);
      for (const [index, name] of node.outputs.entries()) {
        const value = outputs[index];
        if (name !== "" && value !== undefined && value !== null) replace(name, value);
      }
      rewritten++;
    }
    if (rewritten === 0) return;
  }
}

function isObject(found: Gradient): found is Exclude<Gradient, null | "flat" | ((...args: never) => unknown)> {
  return typeof found === "object" && found !== null;
}

/** A lowering may write operators that are lowered themselves; more levels than this would be a circle. */
const deepest = 8;
