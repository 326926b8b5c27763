import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { int } from "../../graph/attributes.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { formatShape, type Shape } from "../../tensor/tensor.ts";
import { crossEntropy } from "./losses.ts";

/**
 * Cross-entropy of logits with labels, or, where there are none, with the classes that the model itself finds most likely.
 * Throws `gradient` for a value without classes. labels: i32, one for each row of logits.
 */
export function taskLoss(g: Algebra, logits: Value, labels: Value | null, temperature = 1): Value {
  const { shape, dtype, name } = logits;
  if (shape.length < 2 || !isFloat(dtype)) {
    const message = `expected logits [batch, ..., classes], got ${dtype} ${formatShape(shape)}.`;
    throw new EspalierError("gradient", `output "${name}"`, message, "Put the logits first among the outputs.");
  }
  const classes = classAxis(shape);
  const order = [...shape.map((_, i) => i).filter((axis) => axis !== classes), classes];
  const last = g.cast(g.transpose(logits, order), "f32");
  const scaled = g.div(last, temperature);
  return crossEntropy(g, scaled, labels ?? ownClasses(g, last));
}

/** Where logits have their classes: those of pictures, [batch, classes, h, w], on axis 1, all others on the last. */
export function classAxis({ length }: Shape): number {
  return length > 3 ? 1 : length - 1;
}

/** The most likely class of each row; no gradient flows through it. logits: [..., classes] → i32 [...] */
function ownClasses(g: Algebra, logits: Value): Value {
  const type = { dtype: "i64", shape: logits.shape.slice(0, -1) } as const;
  return g.cast(g.op("ArgMax", [logits], { axis: int(-1), keepdims: int(0) }, type), "i32");
}
