import { misfit, type Pattern, patternMask } from "../masks/pattern.ts";
import { inverseUpper } from "../tensor/cholesky.ts";
import { EspalierError } from "../tensor/error.ts";
import { addProduct, checkMatrix, transposed, view } from "../tensor/matrix.ts";
import { countOf, smallest } from "../tensor/select.ts";

/** A linear layer y = x·Wᵀ and what calibration knows of x. */
export interface SweepProblem {
  /** [rows, columns] */
  readonly weights: Float64Array;
  /** Mean, or sum, of x·xᵀ: [columns, columns]. Losses are in its unit. */
  readonly gram: Float64Array;
  readonly rows: number;
  readonly columns: number;
  /** Kernel positions: columns are [input features, positions]. */
  readonly positions?: number;
}

export interface SweepOptions {
  /**
   * Which weights go: a mask [rows, columns] where 1 keeps; an N:M pattern chosen on the updated weights when the sweep
   * reaches them; or the share of each block of columns with the smallest w²/U²ⱼⱼ.
   */
  readonly choose:
    | { readonly kind: "mask"; readonly mask: Uint8Array }
    | { readonly kind: "pattern"; readonly pattern: Extract<Pattern, { kind: "n:m" }> }
    | { readonly kind: "sparsity"; readonly sparsity: number };
  /** Columns between two updates of everything to the right. */
  readonly blockSize?: number;
  /** Added to the diagonal, as a fraction of its mean. */
  readonly damping?: number;
}

export interface Sweep {
  /** [rows, columns]; removed weights are exact zeros. */
  readonly weights: Float64Array;
  /** 1 keeps. */
  readonly mask: Uint8Array;
  /** ‖W X − W' X‖² in the unit of the Gram matrix, as the sweep adds it up; exact without damping. */
  readonly loss: number;
  readonly damping: number;
}

/**
 * The sweep of SparseGPT (algorithm 1): column after column is pruned, and the columns to its right make up for it as
 * the optimal brain surgeon would, with U from H⁻¹ = Uᵀ·U. Inputs that never fire lose their weights. Throws `shape`
 * where a pattern or mask does not fit. Cost: columns³ + rows · columns².
 */
export function obsSweep(problem: SweepProblem, options: SweepOptions): Sweep {
  const { gram, rows, columns: n, positions = 1 } = problem;
  const { choose, damping: asked = 0.01 } = options;
  checkMatrix("weights", problem.weights, rows, n);
  checkChoice(choose, rows, n, positions);
  const { upper, damping, dead } = inverseUpper(gram, n, { damping: asked });
  const weights = problem.weights.slice();
  for (const j of dead) for (let r = 0; r < rows; r++) weights[r * n + j] = 0;
  const mask = choose.kind === "mask" ? choose.mask.slice() : new Uint8Array(rows * n).fill(1);
  const size = blockColumns(choose, options.blockSize ?? 128, positions);
  let loss = 0;
  for (let from = 0; from < n; from += size) {
    const to = Math.min(n, from + size);
    if (choose.kind === "sparsity") chooseBlock(weights, upper, mask, rows, n, from, to, choose.sparsity);
    const errors = new Float64Array(rows * (to - from));
    for (let j = from; j < to; j++) {
      if (choose.kind === "pattern") chooseGroup(weights, upper, mask, rows, n, positions, j, choose.pattern);
      loss += sweepColumn(weights, upper, mask, errors, rows, n, j, from, to);
    }
    if (to < n) {
      // What is right of the block: W −= errors · U[block, right].
      const part = new Float64Array((to - from) * (n - to));
      for (let j = from; j < to; j++) part.set(upper.subarray(j * n + to, (j + 1) * n), (j - from) * (n - to));
      const right = transposed(part, to - from, n - to);
      addProduct(view(weights, n, 0, to), view(errors, to - from), view(right, to - from), rows, n - to, to - from, -1);
    }
  }
  return { weights, mask, loss, damping };
}

/** Prunes column j of every row and updates the rest of its block; the errors are kept for what lies further right. */
function sweepColumn(
  weights: Float64Array,
  upper: Float64Array,
  mask: Uint8Array,
  errors: Float64Array,
  rows: number,
  n: number,
  j: number,
  from: number,
  to: number,
): number {
  const pivot = upper[j * n + j] ?? 1;
  let loss = 0;
  for (let r = 0; r < rows; r++) {
    const at = r * n + j;
    if (mask[at] === 1) continue;
    const error = (weights[at] ?? 0) / pivot;
    if (error !== 0) {
      for (let k = j + 1; k < to; k++) weights[r * n + k] = (weights[r * n + k] ?? 0) - error * (upper[j * n + k] ?? 0);
    }
    weights[at] = 0;
    errors[r * (to - from) + j - from] = error;
    loss += error * error;
  }
  return loss;
}

/** Marks the share of a block of columns, over all rows, whose removal costs least. */
function chooseBlock(
  weights: Float64Array,
  upper: Float64Array,
  mask: Uint8Array,
  rows: number,
  n: number,
  from: number,
  to: number,
  sparsity: number,
): void {
  const width = to - from;
  const scores = new Float64Array(rows * width);
  for (let r = 0, i = 0; r < rows; r++) {
    for (let j = from; j < to; j++) scores[i++] = ((weights[r * n + j] ?? 0) / (upper[j * n + j] ?? 1)) ** 2;
  }
  const removed = smallest(scores, countOf(sparsity, scores.length));
  for (let r = 0, i = 0; r < rows; r++) for (let j = from; j < to; j++) mask[r * n + j] = 1 - (removed[i++] ?? 0);
}

/** Where column j is the first of a group of M features (at all kernel positions), chooses which of them stay. */
function chooseGroup(
  weights: Float64Array,
  upper: Float64Array,
  mask: Uint8Array,
  rows: number,
  n: number,
  positions: number,
  j: number,
  pattern: Extract<Pattern, { kind: "n:m" }>,
): void {
  const inner = pattern.order === "im2col" ? 1 : positions;
  const width = pattern.of * inner;
  if (j % width !== 0) return;
  const scores = new Float64Array(rows * width);
  for (let r = 0, i = 0; r < rows; r++) {
    for (let k = j; k < j + width; k++) scores[i++] = ((weights[r * n + k] ?? 0) / (upper[k * n + k] ?? 1)) ** 2;
  }
  const kept = patternMask(pattern, { rows, columns: width, positions: inner }, scores);
  for (let r = 0; r < rows; r++) mask.set(kept.subarray(r * width, (r + 1) * width), r * n + j);
}

/** Columns of a block: whole groups of a pattern, since all of a group must be up to date when it is chosen. */
function blockColumns(choose: SweepOptions["choose"], wanted: number, positions: number): number {
  if (choose.kind !== "pattern") return Math.max(1, wanted);
  const group = choose.pattern.of * (choose.pattern.order === "im2col" ? 1 : positions);
  return Math.max(1, Math.ceil(wanted / group)) * group;
}

function checkChoice(choose: SweepOptions["choose"], rows: number, columns: number, positions: number): void {
  if (choose.kind === "mask" && choose.mask.length !== rows * columns) {
    throw new EspalierError("shape", "mask", `expected [${rows}, ${columns}], got ${choose.mask.length} entries.`);
  }
  const reason = choose.kind === "pattern" ? misfit(choose.pattern, { rows, columns, positions }) : null;
  if (reason !== null) throw new EspalierError("shape", "pattern", `expected one that fits; ${reason}.`);
}
