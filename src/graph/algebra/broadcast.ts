import { EspalierError } from "../../tensor/error.ts";
import { formatShape, type Shape } from "../../tensor/tensor.ts";

/** The common shape that both broadcast to. Throws `shape` where there is none. */
export function broadcastShapes(op: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const n = a[i - rank + a.length] ?? 1;
    const m = b[i - rank + b.length] ?? 1;
    if (n !== m && n !== 1 && m !== 1) throw misfit(op, [a, b]);
    return n === 1 ? m : n;
  });
}

/** An error about sizes that an operator cannot take together. */
export function misfit(op: string, shapes: readonly Shape[]): EspalierError {
  return new EspalierError(
    "shape",
    op,
    `expected sizes that fit together, got ${shapes.map(formatShape).join(" and ")}.`,
  );
}
