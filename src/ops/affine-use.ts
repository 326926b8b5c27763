import type { Graph } from "../graph/graph.ts";
import type { UseDef } from "../graph/uses.ts";
import { isFloat } from "../tensor/dtype.ts";
import { toFloat64 } from "../tensor/numeric.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { opSpec } from "./table.ts";

/** A value as it is read: scale · x + shift. */
export interface Affine {
  readonly scale: number;
  readonly shift: number;
}

/** How what is read changes with one more operator whose other operand is the number n. */
const steps: ReadonlyMap<string, (a: Affine, n: number) => Affine> = new Map([
  ["Add", ({ scale, shift }: Affine, n: number) => ({ scale, shift: shift + n })],
  ["Mul", ({ scale, shift }: Affine, n: number) => ({ scale: scale * n, shift: shift * n })],
]);

/**
 * What becomes of a constant before anything else than casts, sums and products with single numbers reads it. Where it has
 * several readers it is read as it is.
 */
export function affineUse(graph: Graph, links: UseDef, constant: string): Affine {
  let found: Affine = { scale: 1, shift: 0 };
  for (let name = constant; ; ) {
    const [use, ...others] = links.consumers(name);
    if (use === undefined || others.length > 0 || use.input < 0) return found;
    const { node } = use;
    const next = node.outputs[0] ?? "";
    const carries = opSpec(node.domain, node.op)?.roles?.carries;
    const number = numberIn(graph, node.inputs[1 - use.input] ?? "");
    const step = node.domain === "" ? steps.get(node.op) : undefined;
    if (carries !== undefined && carries(node, 1) === null) name = next;
    else if (step !== undefined && number !== undefined) {
      found = step(found, number);
      name = next;
    } else return found;
  }
}

/** The number of a constant of one element. */
function numberIn(graph: Graph, name: string): number | undefined {
  const ref = graph.constants.get(name);
  if (ref?.resident === undefined || sizeOf(ref.shape) !== 1 || ref.shape.length > 1 || !isFloat(ref.dtype))
    return undefined;
  return toFloat64({ dtype: ref.dtype, shape: ref.shape, bytes: ref.resident })[0];
}
