import type { Algebra, Value } from "../graph/algebra/algebra.ts";
import { describeNode } from "../graph/attributes.ts";
import type { Node } from "../graph/graph.ts";
import type { FormulaContext, Gradient, Operand } from "../ops/spec.ts";
import { opSpec } from "../ops/table.ts";
import { EspalierError } from "../tensor/error.ts";

/** How the operator of a node differentiates; null for operators that espalier does not know. */
export function gradientOf({ domain, op }: Node): Gradient {
  return opSpec(domain, op)?.grad ?? null;
}

/** What a rule sees of its node. */
export function formulaContext(g: Algebra, node: Node): FormulaContext {
  const nameOf = ({ side, index }: Operand): string =>
    (side === "input" ? node.inputs[index] : node.outputs[index]) ?? "";
  const need = (operand: Operand): Value => {
    const name = nameOf(operand);
    if (name !== "") return g.of(name);
    throw new EspalierError(
      "model",
      describeNode(node),
      `expected ${operand.side} ${operand.index}, got a node without it.`,
    );
  };
  return {
    g,
    node,
    opset: g.opset(node.domain),
    shape: (operand) => {
      const name = nameOf(operand);
      return name !== "" && g.has(name) ? g.of(name).shape : undefined;
    },
    value: (index) => g.known(node.inputs[index] ?? ""),
    dynamic: () => false,
    x: (index) => need({ side: "input", index }),
    y: (index) => need({ side: "output", index }),
    has: (index) => (node.inputs[index] ?? "") !== "",
    refuse: (because) => {
      throw new EspalierError("gradient", describeNode(node), `expected a form with a gradient, but ${because}.`);
    },
  };
}
