import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { int } from "../../graph/attributes.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromInts } from "../../tensor/numeric.ts";
import { formatShape } from "../../tensor/tensor.ts";

/** Logits of one row per answer: all axes but the last are rows. */
function rows(g: Algebra, logits: Value): Value {
  const classes = logits.shape.at(-1) ?? 1;
  return g.reshape(logits, [logits.shape.slice(0, -1).reduce((n, size) => n * size, 1), classes]);
}

/** log softmax over the last axis. logits: [..., classes] → the same shape. */
export function logSoftmax(g: Algebra, logits: Value): Value {
  return g.map("LogSoftmax", logits, { axis: int(-1) });
}

/** Softmax over the last axis. logits: [..., classes] → the same shape. */
export function softmax(g: Algebra, logits: Value): Value {
  return g.map("Softmax", logits, { axis: int(-1) });
}

/** 1 at the class of each row, else 0. labels: i32 [rows] → [rows, classes]; a label outside 0 .. classes − 1 gives zeros. */
export function oneHot(g: Algebra, labels: Value, classes: number, dtype: Value["dtype"] = "f32"): Value {
  const numbers = g.constant(
    fromInts(
      "i32",
      [1, classes],
      Int32Array.from({ length: classes }, (_, i) => i),
    ),
    "classes",
  );
  return g.cast(g.equal(g.reshape(labels, [labels.shape.reduce((n, size) => n * size, 1), 1]), numbers), dtype);
}

export interface CrossEntropyOptions {
  /** Share of each target that is spread evenly over all classes; default 0. */
  readonly smoothing?: number;
}

/**
 * Mean over rows of −Σ target · log softmax(logits), in nats. logits: [..., classes], labels: i32 [...]. Rows with a label
 * below 0 do not count. Throws `shape` where the labels do not fit.
 */
export function crossEntropy(
  g: Algebra,
  logits: Value,
  labels: Value,
  { smoothing = 0 }: CrossEntropyOptions = {},
): Value {
  const flat = rows(g, logits);
  const [count = 0, classes = 1] = flat.shape;
  if (labels.shape.reduce((n, size) => n * size, 1) !== count) {
    const message = `expected a label for each of ${formatShape(logits.shape.slice(0, -1))}, got ${formatShape(labels.shape)}.`;
    throw new EspalierError("shape", "cross-entropy", message);
  }
  const hot = oneHot(g, labels, classes, flat.dtype);
  const counted = g.sum(hot, [1], true);
  const target = smoothing === 0 ? hot : g.add(g.mul(hot, 1 - smoothing), g.mul(counted, smoothing / classes));
  const total = g.sum(g.mul(target, logSoftmax(g, flat)));
  return g.neg(g.div(total, g.max(g.sum(counted), 1)));
}

/**
 * KL(teacher ‖ student) at a temperature T, times T² so that gradients keep their size (Hinton et al. 2015), mean over rows,
 * in nats. Both: [..., classes]. The teacher's logits are taken as they are: freeze what computes them.
 */
export function distillation(g: Algebra, student: Value, teacher: Value, temperature = 1): Value {
  const scaled = (logits: Value): Value => g.div(rows(g, logits), temperature);
  const log = logSoftmax(g, scaled(teacher));
  const gap = g.sub(log, logSoftmax(g, scaled(student)));
  const count = rows(g, student).shape[0] ?? 1;
  return g.mul(g.sum(g.mul(g.exp(log), gap)), (temperature * temperature) / count);
}

/** Mean square difference over all elements. */
export function meanSquareError(g: Algebra, found: Value, target: Value): Value {
  return g.mean(g.square(g.sub(found, target)));
}

/** Mean absolute difference over all elements. */
export function meanAbsoluteError(g: Algebra, found: Value, target: Value): Value {
  return g.mean(g.map("Abs", g.sub(found, target)));
}

/**
 * Square difference of features, relative to the mean square of the target, so that layers of different scale weigh alike.
 * Both of one shape.
 */
export function featureMatching(g: Algebra, found: Value, target: Value): Value {
  return g.div(meanSquareError(g, found, target), g.add(g.mean(g.square(target)), 1e-6));
}

/** Cross-entropy of each token with the one after it. logits: [batch, time, vocabulary], tokens: i32 [batch, time]. */
export function nextToken(g: Algebra, logits: Value, tokens: Value): Value {
  const time = tokens.shape[1] ?? 1;
  return crossEntropy(g, g.slice(logits, 1, 0, time - 1), g.slice(tokens, 1, 1, time));
}
