import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromInts } from "../../tensor/numeric.ts";
import { formatShape, type Shape, sizeOf } from "../../tensor/tensor.ts";
import { boundary } from "./threshold.ts";

/**
 * What competes to stay: single weights of the parameter; N of every M neighbours along an axis; or the positions of an axis,
 * by the length of their weights.
 */
export type Among =
  | { readonly kind: "element" }
  | { readonly kind: "n:m"; readonly keep: number; readonly of: number; readonly axis: number }
  | { readonly kind: "slices"; readonly axis: number };

/** Sizes that compete, and the threshold between those that stay and those that go, a constant for the gradient. */
export interface Competition {
  readonly size: Value;
  /** Broadcasts over `size`. */
  readonly threshold: Value;
  /** A mask laid out as `size`, as one that broadcasts over the parameter. */
  restore(mask: Value): Value;
}

/**
 * Puts the threshold halfway between the smallest size that stays and the largest that goes; at 0 where nothing goes. `sparsity`,
 * f32 [], does not count where N of M decide. Throws `shape` where M does not divide the axis.
 */
export function competition(g: Algebra, parameter: Value, among: Among, sparsity: () => Value): Competition {
  const between = (kept: Value, removed: Value): Value => g.max(g.mul(g.add(kept, removed), 0.5), 0);
  const asItIs = (mask: Value): Value => mask;
  if (among.kind === "n:m") {
    const { keep, of, axis } = among;
    const groups = neighbours(parameter.shape, axis, of);
    const laid = g.transpose(g.map("Abs", parameter), groups.order);
    const size = g.reshape(laid, [groups.count, of]);
    const [sorted = size] = g.ops("TopK", [size, g.constant(fromInts("i64", [1], [of]))], {}, [
      { dtype: "f32", shape: size.shape },
      { dtype: "i64", shape: size.shape },
    ]);
    const ranked = g.stop(sorted);
    const at = (index: number): Value => g.slice(ranked, 1, index, index + 1);
    const threshold = keep >= of ? g.mul(at(of - 1), 0) : between(at(keep - 1), at(keep));
    return {
      size,
      threshold,
      restore: (mask) => g.transpose(g.reshape(mask, laid.shape), groups.back),
    };
  }
  const size =
    among.kind === "element"
      ? g.map("Abs", parameter)
      : g.reduce("ReduceL2", parameter, othersThan(parameter.shape, among.axis), true);
  const { kept, removed } = boundary(g, size, sparsity());
  return { size, threshold: between(kept, removed), restore: asItIs };
}

function othersThan(shape: Shape, axis: number): readonly number[] {
  return shape.map((_, i) => i).filter((i) => i !== axis);
}

/** How an axis comes last, and how many groups of neighbours there are then. */
function neighbours(shape: Shape, axis: number, of: number) {
  const length = shape[axis] ?? 0;
  if (length % of !== 0) {
    const message = `expected an axis ${axis} that ${of} divides, got ${formatShape(shape)}.`;
    throw new EspalierError("shape", `${of} neighbours`, message, "Leave this parameter out.");
  }
  const order = [...othersThan(shape, axis), axis];
  return { order, back: shape.map((_, i) => order.indexOf(i)), count: sizeOf(shape) / of };
}
