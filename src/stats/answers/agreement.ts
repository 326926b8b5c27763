import type { Batch } from "../../data/dataset.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { toFloat32, toFloat64 } from "../../tensor/numeric.ts";
import { formatShape, type HostTensor, sizeOf } from "../../tensor/tensor.ts";

/** How near the pruned model's outputs are to the original's on the same inputs. */
export interface Fidelity {
  /** Share of samples whose largest output is the same; null for outputs that are no classes. */
  readonly topAgreement: number | null;
  /** Mean KL(original || pruned) of the softmax of the first output, in nats; null likewise. */
  readonly kl: number | null;
  /** Of all outputs of all samples as one vector. */
  readonly cosine: number;
  /** ‖original − pruned‖ / ‖original‖ over all outputs. */
  readonly relativeError: number;
  readonly samples: number;
}

/** Smallest probability that a divergence counts with: float32's smallest normal number. */
const LEAST = 2 ** -126;

/** Sums of how two models agree, batch by batch, in float64. */
export class Agreement {
  #dot = 0;
  #original = 0;
  #pruned = 0;
  #difference = 0;
  #divergence = 0;
  #same = 0;
  #compared = false;
  /** Rows of the first output that were classes; null once one was not. */
  #rows: number | null = 0;
  /** Whether the first output is probabilities already, which the first batch decides. */
  #probabilities: boolean | undefined;

  /**
   * Adds an output of one batch. `samples`: the batch's size for the output that may be classes, null for others;
   * `start`: samples before this batch, for messages.
   */
  add(name: string, original: HostTensor, pruned: HostTensor | undefined, samples: number | null, start: number): void {
    if (pruned === undefined || formatShape(pruned.shape) !== formatShape(original.shape)) {
      const got = pruned === undefined ? "nothing" : formatShape(pruned.shape);
      const message = `expected ${formatShape(original.shape)} as in the original, got ${got}.`;
      throw new EspalierError("shape", `output ${name}`, message, "Only outputs of the same size can be compared.");
    }
    const a = numbersOf(original);
    const b = numbersOf(pruned);
    this.#compared = true;
    this.#distance(name, a, b, a.length / (original.shape[0] ?? 1), start);
    if (samples === null) return;
    const classes = classesOf(original, samples);
    if (classes === null || this.#rows === null) {
      this.#rows = null;
      return;
    }
    this.#probabilities ??= isProbabilities(a, classes);
    for (let row = 0; row < samples; row++) {
      const at = row * classes;
      if (largest(a, at, classes) === largest(b, at, classes)) this.#same++;
      this.#divergence += this.#probabilities ? divergence(a, b, at, classes) : softmaxDivergence(a, b, at, classes);
    }
    this.#rows += samples;
  }

  /** Null where nothing was compared. */
  result(samples: number): Fidelity | null {
    if (!this.#compared) return null;
    const rows = this.#rows ?? 0;
    const norms = Math.sqrt(this.#original) * Math.sqrt(this.#pruned);
    const identical = this.#difference === 0;
    return {
      topAgreement: rows > 0 ? this.#same / rows : null,
      kl: rows > 0 ? Math.max(0, this.#divergence / rows) : null,
      cosine: norms > 0 ? Math.min(1, Math.max(-1, this.#dot / norms)) : identical ? 1 : 0,
      relativeError: identical ? 0 : Math.sqrt(this.#difference / this.#original),
      samples,
    };
  }

  #distance(name: string, a: Numbers, b: Numbers, stride: number, start: number): void {
    let dot = 0;
    let original = 0;
    let pruned = 0;
    let difference = 0;
    for (let i = 0; i < a.length; i++) {
      const x = a[i] ?? 0;
      const y = b[i] ?? 0;
      if (!Number.isFinite(x)) continue; // masked logits of −∞: there is no distance to them
      if (!Number.isFinite(y)) {
        const message = `expected a finite number as in the original, got ${y} for sample ${start + Math.floor(i / stride)}.`;
        throw new EspalierError("runtime", `output ${name}`, message, "The pruned model's numbers overflow.");
      }
      dot += x * y;
      original += x * x;
      pruned += y * y;
      difference += (x - y) * (x - y);
    }
    this.#dot += dot;
    this.#original += original;
    this.#pruned += pruned;
    this.#difference += difference;
  }
}

/** Samples of a batch whose largest output is their label; null where the output is no classes or there are no labels. */
export function hits(output: HostTensor, batch: Batch, start: number): number | null {
  const classes = isNumeric(output) ? classesOf(output, batch.count) : null;
  if (classes === null || batch.labels === undefined) return null;
  const values = numbersOf(output);
  let correct = 0;
  for (let row = 0; row < batch.count; row++) {
    const label = batch.labels[row] ?? 0;
    if (label < 0 || label >= classes) {
      const message = `expected labels from 0 to ${classes - 1}, as the model has classes, got ${label} for sample ${start + row}.`;
      throw new EspalierError("data", "labels", message, "Labels must be numbered as the model's outputs are.");
    }
    if (largest(values, row * classes, classes) === label) correct++;
  }
  return correct;
}

type Numbers = Float32Array | Float64Array;

/** True where a tensor's elements are numbers that can be compared. */
export function isNumeric({ dtype }: HostTensor): boolean {
  return numeric.has(dtype);
}

const numeric: ReadonlySet<string> = new Set("f64 f32 f16 bf16 i64 u64 i32 u32 i16 u16 i8 u8 bool".split(" "));

function numbersOf(output: HostTensor): Numbers {
  return output.dtype === "f32" || output.dtype === "f16" ? toFloat32(output) : toFloat64(output);
}

/** Number of classes of an output [samples, classes], trailing axes of size 1 aside; null for others. */
function classesOf({ shape, dtype }: HostTensor, samples: number): number | null {
  const classes = shape[1] ?? 0;
  return isFloat(dtype) && shape[0] === samples && classes > 1 && sizeOf(shape) === samples * classes ? classes : null;
}

/** Position of the largest value of a row, the first where several are; NaN is never the largest. */
function largest(values: Numbers, at: number, count: number): number {
  let best = 0;
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    const value = values[at + i] ?? 0;
    if (value > most) {
      most = value;
      best = i;
    }
  }
  return best;
}

/** True where every row lies in [0, 1] and sums to 1: a softmax of these would flatten them. */
function isProbabilities(values: Numbers, classes: number): boolean {
  for (let at = 0; at < values.length; at += classes) {
    let sum = 0;
    for (let i = at; i < at + classes; i++) {
      const value = values[i] ?? 0;
      if (!(value >= 0 && value <= 1)) return false;
      sum += value;
    }
    if (Math.abs(sum - 1) > 1e-2) return false;
  }
  return values.length > 0;
}

/** KL(a || b) of one row of probabilities. */
function divergence(a: Numbers, b: Numbers, at: number, count: number): number {
  let sum = 0;
  for (let i = at; i < at + count; i++) {
    const p = a[i] ?? 0;
    if (p > 0) sum += p * Math.log(p / Math.max(b[i] ?? 0, LEAST));
  }
  return sum;
}

/** KL(softmax a || softmax b) of one row of logits. */
function softmaxDivergence(a: Numbers, b: Numbers, at: number, count: number): number {
  const over = logSumExp(a, at, count);
  const under = logSumExp(b, at, count);
  let sum = 0;
  for (let i = at; i < at + count; i++) {
    const p = (a[i] ?? 0) - over;
    // A class that the original excludes adds nothing, whatever the pruned model gives it.
    if (p > Number.NEGATIVE_INFINITY) sum += Math.exp(p) * (p - ((b[i] ?? 0) - under));
  }
  return sum;
}

function logSumExp(values: Numbers, at: number, count: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = at; i < at + count; i++) most = Math.max(most, values[i] ?? 0);
  let sum = 0;
  for (let i = at; i < at + count; i++) sum += Math.exp((values[i] ?? 0) - most);
  return most + Math.log(sum);
}
