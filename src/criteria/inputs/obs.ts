import { factorise, inverse, solveRows } from "../../tensor/linalg/cholesky.ts";
import { type Criterion, reduceElements, type WeightView } from "../criterion.ts";

/**
 * The optimal-brain-surgeon saliency w²/[H⁻¹]ⱼⱼ with H = E[x·xᵀ] damped (SPA, section D, step 9). An input feature scores the
 * error of removing its whole block of columns with the other weights refitted: tr(W_P ([H⁻¹]_PP)⁻¹ W_Pᵀ) / 2.
 */
export function obs(damping = 0.01): Criterion<"gram"> {
  const groupsOf = (weight: WeightView, gram: readonly Float64Array[]) => {
    const rows = weight.rows / Math.max(1, gram.length);
    return gram.map((h, g) => ({
      inverse: inverse(factorise(h, weight.columns, { damping })),
      values: Float64Array.from(weight.values.subarray(g * rows * weight.columns, (g + 1) * rows * weight.columns)),
      rows,
    }));
  };
  const elements: NonNullable<Criterion<"gram">["elements"]> = (weight, { gram }) => {
    const n = weight.columns;
    const out = new Float64Array(weight.rows * n);
    let at = 0;
    for (const { inverse: h, values } of groupsOf(weight, gram)) {
      for (let i = 0; i < values.length; i++) out[at++] = (values[i] ?? 0) ** 2 / (h[(i % n) * n + (i % n)] ?? 1);
    }
    return out;
  };
  return {
    id: "obs",
    needs: ["gram"],
    // Each call factorises the Gram matrices, and rows belong to theirs by position.
    whole: true,
    elements,
    features: (weight, side, statistics) => {
      if (side === "other" || statistics.gram.length === 0) return null;
      if (side === "output") return reduceElements(weight, side, elements(weight, statistics), "sum");
      const features = weight.columns / weight.positions;
      const out = new Float64Array(features);
      for (const { inverse: h, values, rows } of groupsOf(weight, statistics.gram)) {
        const problem: RemovalProblem = { weights: values, inverse: h, rows, columns: weight.columns };
        for (let f = 0; f < features; f++) {
          const block = Array.from({ length: weight.positions }, (_, p) => f * weight.positions + p);
          out[f] = (out[f] ?? 0) + removalError(problem, block);
        }
      }
      return out;
    },
  };
}

/** A matrix whose columns are removed block by block, and the inverse of its damped Hessian; both change on removal. */
export interface RemovalProblem {
  /** [rows, columns] */
  readonly weights: Float64Array;
  /** [columns, columns] */
  readonly inverse: Float64Array;
  readonly rows: number;
  readonly columns: number;
}

/** Error of removing a block of columns when the others are refitted: tr(W_P ([H⁻¹]_PP)⁻¹ W_Pᵀ) / 2. */
export function removalError(problem: RemovalProblem, block: readonly number[]): number {
  const { taken, solved } = blockOf(problem, block);
  let sum = 0;
  for (let i = 0; i < taken.length; i++) sum += (taken[i] ?? 0) * (solved[i] ?? 0);
  return sum / 2;
}

/** Removes a block of columns: refits the others and takes the block out of the inverse. Changes the problem. */
export function removeBlock(problem: RemovalProblem, block: readonly number[]): void {
  const { weights, inverse: h, rows, columns: n } = problem;
  const { factor, solved } = blockOf(problem, block);
  const size = block.length;
  const lines = new Float64Array(size * n);
  for (const [b, p] of block.entries()) lines.set(h.subarray(p * n, (p + 1) * n), b * n);
  addRows(weights, solved, lines, rows, n, size);
  // H⁻¹ of what is left: H⁻¹ − H⁻¹_:P ([H⁻¹]_PP)⁻¹ H⁻¹_P:, whose rows and columns in P vanish.
  const side = new Float64Array(n * size);
  for (let i = 0; i < n; i++) for (let b = 0; b < size; b++) side[i * size + b] = lines[b * n + i] ?? 0;
  addRows(h, solveRows(factor, side, n), lines, n, n, size);
  for (const p of block) {
    h.fill(0, p * n, (p + 1) * n);
    for (let i = 0; i < n; i++) h[i * n + p] = 0;
    for (let r = 0; r < rows; r++) weights[r * n + p] = 0;
  }
}

/** target −= a · lines. a: [rows, size], lines: [size, n]. */
function addRows(
  target: Float64Array,
  a: Float64Array,
  lines: Float64Array,
  rows: number,
  n: number,
  size: number,
): void {
  for (let r = 0; r < rows; r++) {
    for (let b = 0; b < size; b++) {
      const factor = a[r * size + b] ?? 0;
      if (factor === 0) continue;
      for (let j = 0, to = r * n, from = b * n; j < n; j++, to++, from++) {
        target[to] = (target[to] ?? 0) - factor * (lines[from] ?? 0);
      }
    }
  }
}

function blockOf({ weights, inverse: h, rows, columns: n }: RemovalProblem, block: readonly number[]) {
  const size = block.length;
  const inner = new Float64Array(size * size);
  for (const [a, p] of block.entries()) for (const [b, q] of block.entries()) inner[a * size + b] = h[p * n + q] ?? 0;
  const factor = factorise(inner, size, { damping: 0 });
  const taken = new Float64Array(rows * size);
  for (let r = 0; r < rows; r++) for (const [b, p] of block.entries()) taken[r * size + b] = weights[r * n + p] ?? 0;
  return { factor, taken, solved: solveRows(factor, taken, rows) };
}
